package charttest

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A kubelet runs the one container of a pod template as the template says: its arguments and environment, its
// ConfigMaps, Secrets and empty folders where they are mounted, the token of its service account, its user, and a
// root file system that it cannot write. There are no namespaces of the kernel and no images.
type kubelet struct {
	cluster *controlplane.Cluster
	client  *kubernetes.Clientset
}

// run starts a program as the template's container in a new root folder.
func (k kubelet) run(ctx context.Context, t *testing.T, name, program, namespace string, pod v1.PodTemplateSpec, ready func(context.Context) error) (*controlplane.Process, error) {
	container := pod.Spec.Containers[0]
	root := filepath.Join(k.cluster.Folder(), name)
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		return nil, err
	}
	if err := image(ctx, program, root); err != nil {
		return nil, err
	}
	user := pod.Spec.SecurityContext
	if user == nil || user.RunAsUser == nil || user.RunAsNonRoot == nil || !*user.RunAsNonRoot || *user.RunAsUser == 0 {
		t.Errorf("%s runs as root: %+v", name, user)
	}
	if c := container.SecurityContext; c == nil || c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem ||
		c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || c.Capabilities == nil || len(c.Capabilities.Drop) != 1 || c.Capabilities.Drop[0] != "ALL" {
		t.Errorf("%s may do too much: %+v", name, c)
	}
	uid := uint32(*user.RunAsUser)
	for _, m := range container.VolumeMounts {
		if err := k.mount(ctx, root, m, pod.Spec.Volumes, namespace, int(uid)); err != nil {
			return nil, fmt.Errorf("%s: volume %s: %w", name, m.Name, err)
		}
	}
	if err := k.identity(ctx, root, namespace, pod.Spec.ServiceAccountName, int(uid)); err != nil {
		return nil, err
	}
	api, err := url.Parse(k.cluster.Server())
	if err != nil {
		return nil, err
	}
	env := []string{"KUBERNETES_SERVICE_HOST=" + api.Hostname(), "KUBERNETES_SERVICE_PORT=" + api.Port(), "KUBECONFIG=", "HOME=/"}
	return k.cluster.Start(ctx, controlplane.Program{Name: name, Path: "/program", Args: container.Args, Env: env, Ready: ready,
		Attr: func(a *syscall.SysProcAttr) {
			a.Chroot = root
			a.Credential = &syscall.Credential{Uid: uid, Gid: uid}
		}})
}

// image puts the program, and the libraries of one that is not static, into a root folder.
func image(ctx context.Context, program, root string) error {
	if err := copyFile(program, filepath.Join(root, "program"), 0o755); err != nil {
		return err
	}
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) == 0 {
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

// mount fills a folder with what its volume has.
func (k kubelet) mount(ctx context.Context, root string, m v1.VolumeMount, volumes []v1.Volume, namespace string, uid int) error {
	folder := filepath.Join(root, m.MountPath)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, v := range volumes {
		if v.Name != m.Name {
			continue
		}
		files := make(map[string][]byte)
		switch {
		case v.EmptyDir != nil:
			return os.Chown(folder, uid, uid)
		case v.ConfigMap != nil:
			c, err := k.client.CoreV1().ConfigMaps(namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for name, text := range c.Data {
				files[name] = []byte(text)
			}
		case v.Secret != nil:
			s, err := k.client.CoreV1().Secrets(namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			maps.Copy(files, s.Data)
		default:
			return fmt.Errorf("a volume of another type: %+v", v)
		}
		return write(folder, files, uid)
	}
	return fmt.Errorf("there is no such volume")
}

// write writes files that their user may read, and nobody but root change.
func write(folder string, files map[string][]byte, uid int) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o440); err != nil {
			return err
		}
		if err := os.Chown(path, 0, uid); err != nil {
			return err
		}
	}
	return nil
}

// identity gives the pod the token of its service account.
func (k kubelet) identity(ctx context.Context, root, namespace, account string, uid int) error {
	token, err := k.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(k.cluster.CAFile())
	if err != nil {
		return err
	}
	return write(filepath.Join(root, "var/run/secrets/kubernetes.io/serviceaccount"),
		map[string][]byte{"token": []byte(token.Status.Token), "ca.crt": ca, "namespace": []byte(namespace)}, uid)
}
