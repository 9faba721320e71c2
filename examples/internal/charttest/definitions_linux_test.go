package charttest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/examples/internal/readme"
)

// The resource definitions that Helm installed of an older chart become those of this one by what the README says: Helm owns them.
func TestDefinitionsOfAnOlderChart(t *testing.T) {
	bin, program := controlplane.ForTest(t, ""), controlplane.HelmForTest(t)
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	older := t.TempDir()
	if err := os.CopyFS(older, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(older, "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	const now, before = "name: Ready\n", "name: Fine\n"
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), now) {
			t.Fatalf("%s has no column Ready", file)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), now, before)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		h := helm{program, t.TempDir(), c}
		if _, err := h.run(ctx, "install", "lw", older, "--namespace="+namespace); err != nil {
			return err
		}
		definitions := func() (all int, old bool) {
			d, err := dynamic.NewForConfig(c.RESTConfig())
			if err != nil {
				t.Fatal(err)
			}
			list, err := d.Resource(crds).List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			text, err := list.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			return len(list.Items), strings.Contains(string(text), `"name":"Fine"`)
		}
		if n, old := definitions(); n != len(files) || !old {
			t.Errorf("the older chart installed %d definitions, old ones: %v", n, old)
		}
		var told []readme.Command
		for _, command := range readme.Read(t, "### Install with Helm").Commands {
			if strings.Contains(command.Line, "k8s/chart/crds") {
				told = append(told, command)
			}
		}
		s := readme.Shell{Programs: map[string]string{"kubectl": controlplane.KubectlForTest(t)}, Kubeconfig: c.Kubeconfig()}
		s.Play(ctx, t, told)
		if n, old := definitions(); n != len(files) || old {
			t.Errorf("of %d definitions some are still old: %v", n, old)
		}
		_, err = h.run(ctx, "upgrade", "lw", path, "--namespace="+namespace)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
