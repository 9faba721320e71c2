package charttest

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A kubelet runs the containers of a pod template as the template says: their commands, arguments and environment, its
// ConfigMaps, Secrets, claims and empty folders where they are mounted, the token of its service account, its user and
// capabilities. There are no namespaces of the kernel and no images; a root file system that only root may write
// stands in for one that nobody may.
type kubelet struct {
	cluster *controlplane.Cluster
	client  *kubernetes.Clientset
}

// A pod is what runs or ran of a template. Under the same name it has the same folder again, and so its claims' data.
type pod struct {
	kubelet
	name, namespace string
	spec            v1.PodSpec
	root            string
	uid             uint32
}

// setpriv takes from root what a container has not.
const setpriv = "/usr/bin/setpriv"

// run starts a program as the template's container.
func (k kubelet) run(ctx context.Context, t *testing.T, name, program, namespace string, template v1.PodTemplateSpec, ready func(context.Context) error, tools ...string) (*controlplane.Process, error) {
	p, err := k.pod(ctx, t, name, program, namespace, template, tools...)
	if err != nil {
		return nil, err
	}
	return p.start(ctx, ready)
}

// pod makes a pod's folder, with the program of its image.
func (k kubelet) pod(ctx context.Context, t *testing.T, name, program, namespace string, template v1.PodTemplateSpec, tools ...string) (*pod, error) {
	p := &pod{kubelet: k, name: name, namespace: namespace, spec: template.Spec, root: filepath.Join(k.cluster.Folder(), name)}
	if err := os.MkdirAll(filepath.Join(p.root, "etc"), 0o755); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(p.root, "dev"), 0o755); err != nil {
		return nil, err
	}
	null := filepath.Join(p.root, "dev", "null") // every container has it, and exec needs it
	if err := syscall.Mknod(null, syscall.S_IFCHR|0o666, 1<<8|3); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s: %w", null, err)
	}
	user := p.spec.SecurityContext
	if user == nil || user.RunAsUser == nil {
		return nil, fmt.Errorf("%s does not say as whom it runs", name)
	}
	p.uid = uint32(*user.RunAsUser)
	if rooted := p.spec.HostNetwork; p.uid == 0 != rooted || !rooted && (user.RunAsNonRoot == nil || !*user.RunAsNonRoot) {
		t.Errorf("%s runs as user %d, on the host's network %t: %+v", name, p.uid, rooted, user)
	}
	for _, c := range append(p.spec.InitContainers, p.spec.Containers...) {
		if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || !reflect.DeepEqual(s.Capabilities.Drop, []v1.Capability{"ALL"}) {
			t.Errorf("%s may do too much: %+v", name, s)
		}
	}
	if p.uid == 0 {
		tools = append(tools, setpriv)
	}
	for _, tool := range append(tools, program) {
		to := tool
		if tool == program {
			to = "/program"
		}
		if err := copyFile(tool, filepath.Join(p.root, to), 0o755); err != nil {
			return nil, err
		}
		if err := libraries(ctx, tool, p.root); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// start mounts its volumes, runs the containers before the first to their ends, and starts the first.
func (p *pod) start(ctx context.Context, ready func(context.Context) error) (*controlplane.Process, error) {
	if err := p.mount(ctx, true); err != nil {
		return nil, err
	}
	if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
		if err := p.identity(ctx); err != nil {
			return nil, err
		}
	}
	for _, c := range p.spec.InitContainers {
		path, args, env, attr, err := p.command(c)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", append(os.Environ(), env...), new(syscall.SysProcAttr)
		attr(cmd.SysProcAttr)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: container %s: %w\n%s", p.name, c.Name, err, out)
		}
	}
	path, args, env, attr, err := p.command(p.spec.Containers[0])
	if err != nil {
		return nil, err
	}
	process, err := p.cluster.Start(ctx, controlplane.Program{Name: p.name, Path: path, Args: args, Env: env, Ready: ready, Attr: attr})
	if err != nil {
		return nil, err
	}
	if ready == nil { // it serves nothing
		return process, nil
	}
	return process, p.probe(ctx)
}

// probe asks what the template has a kubelet ask, at the ports that it names; all must answer.
func (p *pod) probe(ctx context.Context) error {
	c := p.spec.Containers[0]
	for _, probe := range []*v1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			return fmt.Errorf("%s: container %s lacks a probe: %v", p.name, c.Name, probe)
		}
		get := probe.HTTPGet
		port := get.Port.IntValue()
		for _, named := range c.Ports {
			if named.Name == get.Port.String() {
				port = int(named.ContainerPort)
			}
		}
		at := fmt.Sprintf("%s://127.0.0.1:%d%s", strings.ToLower(string(cmp.Or(get.Scheme, v1.URISchemeHTTP))), port, get.Path)
		var said error
		if err := until(ctx, func(ctx context.Context) (bool, error) { said = answers(at)(ctx); return said == nil, nil }); err != nil {
			return fmt.Errorf("%s: a probe of container %s: %w: %w", p.name, c.Name, err, said)
		}
	}
	return nil
}

// command is how a container is run.
func (p *pod) command(c v1.Container) (path string, args, env []string, attr func(*syscall.SysProcAttr), err error) {
	api, err := url.Parse(p.cluster.Server())
	if err != nil {
		return "", nil, nil, nil, err
	}
	known := map[string]string{"KUBERNETES_SERVICE_HOST": api.Hostname(), "KUBERNETES_SERVICE_PORT": api.Port(), "KUBECONFIG": "", "HOME": "/",
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	fields := map[string]string{"spec.nodeName": "frugal", "status.hostIP": "127.0.0.1", "metadata.namespace": p.namespace}
	var words []string
	for _, e := range c.Env {
		known[e.Name] = e.Value
		if e.ValueFrom != nil {
			if e.ValueFrom.FieldRef == nil || fields[e.ValueFrom.FieldRef.FieldPath] == "" {
				return "", nil, nil, nil, fmt.Errorf("%s: environment %s: another source: %+v", p.name, e.Name, e.ValueFrom)
			}
			known[e.Name] = fields[e.ValueFrom.FieldRef.FieldPath]
		}
		words = append(words, "$("+e.Name+")", known[e.Name])
	}
	command := c.Command
	if len(command) == 0 {
		command = []string{"/program"}
	}
	for _, a := range append(command, c.Args...) {
		args = append(args, strings.NewReplacer(words...).Replace(a))
	}
	for name, value := range known {
		env = append(env, name+"="+value)
	}
	if p.uid == 0 {
		bounds := []string{"-all"}
		for _, add := range c.SecurityContext.Capabilities.Add {
			bounds = append(bounds, "+"+strings.ToLower(string(add)))
		}
		args = append([]string{setpriv, "--no-new-privs", "--bounding-set=" + strings.Join(bounds, ","), "--inh-caps=-all"}, args...)
	}
	return args[0], args[1:], env, func(a *syscall.SysProcAttr) {
		a.Chroot = p.root
		a.Credential = &syscall.Credential{Uid: p.uid, Gid: p.uid}
	}, nil
}

// refresh brings changed ConfigMaps and Secrets to a running pod, as a kubelet does every minute or so.
func (p *pod) refresh(ctx context.Context) error { return p.mount(ctx, false) }

// libraries puts those of a program that is not static into a root folder.
func libraries(ctx context.Context, program, root string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	if needs, err := f.ImportedLibraries(); err != nil || len(needs) == 0 {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", program, err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			if err := copyFile(word, filepath.Join(root, word), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !os.IsNotExist(err) { // it may run
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// mount fills the folders of all containers with what their volumes have; at the start also those that programs write.
func (p *pod) mount(ctx context.Context, start bool) error {
	for _, c := range append(p.spec.InitContainers, p.spec.Containers...) {
		for _, m := range c.VolumeMounts {
			if err := p.volume(ctx, m, start); err != nil {
				return fmt.Errorf("%s: volume %s: %w", p.name, m.Name, err)
			}
		}
	}
	return nil
}

func (p *pod) volume(ctx context.Context, m v1.VolumeMount, start bool) error {
	folder := filepath.Join(p.root, m.MountPath)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, v := range p.spec.Volumes {
		if v.Name != m.Name {
			continue
		}
		files := make(map[string][]byte)
		switch {
		case v.EmptyDir != nil:
			if !start {
				return nil
			}
			if err := os.RemoveAll(folder); err != nil {
				return err
			}
			if err := os.Mkdir(folder, 0o755); err != nil {
				return err
			}
			return os.Chown(folder, int(p.uid), int(p.uid))
		case v.PersistentVolumeClaim != nil:
			if _, err := p.client.CoreV1().PersistentVolumeClaims(p.namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{}); err != nil {
				return err
			}
			if p.spec.SecurityContext.FSGroup == nil {
				return errors.New("a claim without a group that may write it")
			}
			return errors.Join(os.Chown(folder, 0, int(*p.spec.SecurityContext.FSGroup)), os.Chmod(folder, 0o2775))
		case v.ConfigMap != nil:
			c, err := p.client.CoreV1().ConfigMaps(p.namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for name, text := range c.Data {
				files[name] = []byte(text)
			}
		case v.Secret != nil:
			s, err := p.client.CoreV1().Secrets(p.namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			maps.Copy(files, s.Data)
		default:
			return fmt.Errorf("a volume of another type: %+v", v)
		}
		return write(folder, files, int(p.uid))
	}
	return fmt.Errorf("there is no such volume")
}

// write writes files that their user may read, and nobody but root change; each changes at once.
func write(folder string, files map[string][]byte, uid int) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path+".part", content, 0o440); err != nil {
			return err
		}
		if err := os.Chown(path+".part", 0, uid); err != nil {
			return err
		}
		if err := os.Rename(path+".part", path); err != nil {
			return err
		}
	}
	return nil
}

// identity gives the pod the token of its service account.
func (p *pod) identity(ctx context.Context) error {
	token, err := p.client.CoreV1().ServiceAccounts(p.namespace).CreateToken(ctx, p.spec.ServiceAccountName,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(p.cluster.CAFile())
	if err != nil {
		return err
	}
	return write(filepath.Join(p.root, "var/run/secrets/kubernetes.io/serviceaccount"),
		map[string][]byte{"token": []byte(token.Status.Token), "ca.crt": ca, "namespace": []byte(p.namespace)}, int(p.uid))
}
