package controlplane

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Request is one for a resource, as kube-apiserver's audit log tells it.
type Request struct {
	Verb                                          string // get, list, watch, create, update, patch, delete; of a binding, create
	User                                          string
	Program                                       string // the name of the program's file, as its client gives it
	Group, Resource, Subresource, Namespace, Name string
	Code                                          int // the status of the answer
	At                                            time.Time
}

// auditPolicy notes all that writes, and what service accounts read, but for those of Kubernetes itself.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch], userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
`

func (c *Cluster) auditLog() string { return filepath.Join(c.dir, "logs", "audit.json") }

// audit returns the flags by which kube-apiserver notes what is asked. Each request is in the log before it is answered.
func (c *Cluster) audit() ([]string, error) {
	policy := filepath.Join(c.dir, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + c.auditLog(), "--audit-log-mode=blocking", "--audit-log-maxsize=0"}, nil
}

// Writes returns what changed something so far, or tried to, in the order of the answers, of a cluster with [Options.Audit].
func (c *Cluster) Writes() ([]Request, error) {
	all, err := c.Requests()
	return slices.DeleteFunc(all, func(r Request) bool { return slices.Contains([]string{"get", "list", "watch"}, r.Verb) }), err
}

// Requests returns what [Cluster.Writes] does, and what service accounts outside kube-system read.
func (c *Cluster) Requests() ([]Request, error) {
	f, err := os.Open(c.auditLog())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("no audit log: the cluster was started without Options.Audit")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Request
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb, UserAgent, Stage string
			User                   struct{ Username string }
			ObjectRef              struct{ APIGroup, Resource, Subresource, Namespace, Name string }
			ResponseStatus         struct{ Code int }
			StageTimestamp         time.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("audit log: %w: %.200s", err, lines.Bytes())
		}
		program, _, _ := strings.Cut(e.UserAgent, "/")
		o := e.ObjectRef
		if o.Resource == "" { // such as /readyz
			continue
		}
		all = append(all, Request{Verb: e.Verb, User: e.User.Username, Program: program, Group: o.APIGroup, Resource: o.Resource, Subresource: o.Subresource, Namespace: o.Namespace, Name: o.Name,
			Code: e.ResponseStatus.Code, At: e.StageTimestamp})
	}
	return all, lines.Err()
}
