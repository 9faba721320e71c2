package controlplane

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Write is one request that changed something, or tried to, as kube-apiserver's audit log tells it.
type Write struct {
	Verb                                   string // create, update, patch, delete; of a binding, create
	Program                                string // the name of the program's file, as its client gives it
	Resource, Subresource, Namespace, Name string
	Code                                   int // the status of the answer
	At                                     time.Time
}

// auditPolicy notes all that writes, and nothing that reads.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
`

func (c *Cluster) auditLog() string { return filepath.Join(c.dir, "logs", "audit.json") }

// audit returns the flags by which kube-apiserver notes what is written. Each request is in the log before it is answered.
func (c *Cluster) audit() ([]string, error) {
	policy := filepath.Join(c.dir, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + c.auditLog(), "--audit-log-mode=blocking", "--audit-log-maxsize=0"}, nil
}

// Writes returns what was written so far, in the order of the answers, of a cluster with [Options.Audit].
func (c *Cluster) Writes() ([]Write, error) {
	f, err := os.Open(c.auditLog())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("no audit log: the cluster was started without Options.Audit")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Write
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb, UserAgent, Stage string
			ObjectRef              struct{ Resource, Subresource, Namespace, Name string }
			ResponseStatus         struct{ Code int }
			StageTimestamp         time.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("audit log: %w: %.200s", err, lines.Bytes())
		}
		program, _, _ := strings.Cut(e.UserAgent, "/")
		o := e.ObjectRef
		all = append(all, Write{Verb: e.Verb, Program: program, Resource: o.Resource, Subresource: o.Subresource, Namespace: o.Namespace, Name: o.Name,
			Code: e.ResponseStatus.Code, At: e.StageTimestamp})
	}
	return all, lines.Err()
}
