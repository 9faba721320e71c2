package charttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

const namespace = "leastwatt"

// helm is the program, with a home of its own.
type helm struct {
	program string
	home    string
	cluster *controlplane.Cluster
}

// run runs helm and returns what it says.
func (h helm) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.program, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+h.home, "HELM_CONFIG_HOME="+h.home, "HELM_DATA_HOME="+h.home, "KUBECONFIG=")
	if h.cluster != nil {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+h.cluster.Kubeconfig())
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// chart is the chart's folder.
func chart() (string, error) {
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "k8s", "chart"))
	if err == nil {
		_, err = os.Stat(filepath.Join(path, "Chart.yaml"))
	}
	return path, err
}
