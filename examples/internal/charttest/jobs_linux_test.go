package charttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// jobs runs the job service as its Deployment says, and on a node what pushes to it. It is killed in the middle of what
// it has accepted; all of that is done in the end, once, by Kubernetes Jobs that the chart's scheduler places.
func (x *installation) jobs(ctx context.Context, program string) error {
	s, err := x.client.CoreV1().Secrets(namespace).Get(ctx, "lw-leastwatt-jobs-token", metav1.GetOptions{})
	if err != nil {
		return err
	}
	x.jobsToken = string(s.Data["token"])
	if len(x.jobsToken) < 32 {
		x.Errorf("the token has %d characters", len(x.jobsToken))
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", x.ports[jobsPort])
	p, err := x.deployed(ctx, "jobs", "jobs", program, answers(url+"/healthz"))
	if err != nil {
		return err
	}
	for token, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, x.jobsToken: http.StatusOK} {
		if status, _, err := x.ask(ctx, http.MethodGet, url+"/metrics", token, ""); err != nil || status != want {
			x.Errorf("GET /metrics with the token %q: %d, %v; want %d", token, status, err, want)
		}
	}
	if err := x.scrape(ctx, "jobs", p.template); err != nil {
		return err
	}
	const n = 30
	post := func(from, to int) error {
		var list []string
		for i := from; i < to; i++ {
			list = append(list, fmt.Sprintf(`{"id":"job-%d","cpu":0.5,"mem":0.1,"duration":60}`, i))
		}
		status, body, err := x.ask(ctx, http.MethodPost, url+"/jobs", x.jobsToken, "["+strings.Join(list, ",")+"]")
		if err != nil || status != http.StatusAccepted {
			return fmt.Errorf("POST /jobs: %d, %w: %s", status, err, body)
		}
		return nil
	}
	if err := post(0, n/2); err != nil {
		return err
	}
	if err := p.Kill(); err != nil {
		return err
	}
	if p.Process, err = p.start(ctx, answers(url+"/healthz")); err != nil {
		return fmt.Errorf("after it was killed: %w", err)
	}
	if err := post(n/2, n); err != nil {
		return err
	}

	d, err := x.client.AppsV1().DaemonSets(namespace).Get(ctx, "lw-leastwatt-jobs-push", metav1.GetOptions{})
	if err != nil {
		return err
	}
	pusher, err := x.kubelet.run(ctx, x.T, "jobs-push", program, namespace, d.Spec.Template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[pushHealth])))
	if err != nil {
		return err
	}
	var got struct {
		Done, Failed int
		Nodes        []struct {
			Name  string
			Watts *float64
		}
	}
	var body string
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		if _, body, err = x.ask(ctx, http.MethodGet, url+"/status", x.jobsToken, ""); err != nil {
			return false, err
		}
		err := json.Unmarshal([]byte(body), &got)
		return got.Done+got.Failed == n, err
	}); err != nil {
		return fmt.Errorf("waiting for %d jobs: %w: %.500s", n, err, body)
	}
	if got.Failed > 0 {
		x.Errorf("%d of %d jobs failed: %.500s", got.Failed, n, body)
	}
	pushed := false
	for _, node := range got.Nodes {
		pushed = pushed || node.Name == "frugal" && node.Watts != nil
	}
	if !pushed {
		x.Errorf("what the node pushed is not there: %.500s", body)
	}
	list, err := x.client.BatchV1().Jobs("batch").List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != n {
		x.Errorf("%d Jobs, %v; want %d", len(list.Items), err, n)
	}
	pods, err := x.client.CoreV1().Pods("batch").List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) != n {
		x.Errorf("%d pods of Jobs, %v; want %d", len(pods.Items), err, n)
	}
	for _, p := range pods.Items {
		if p.Spec.SchedulerName != "leastwatt" || p.Spec.NodeName == "" || p.Status.Phase != v1.PodSucceeded {
			x.Errorf("pod %s of scheduler %s is %s on %q", p.Name, p.Spec.SchedulerName, p.Status.Phase, p.Spec.NodeName)
		}
	}
	x.stop(pusher)
	x.stop(p.Process)
	return x.may(ctx, "lw-leastwatt-jobs", []right{
		{"batch", "create", "batch", "jobs", "", true}, {namespace, "create", "batch", "jobs", "", false}, {"batch", "delete", "batch", "jobs", "", false},
		{"batch", "create", "", "pods", "", false}, {namespace, "get", "", "secrets", "lw-leastwatt-jobs-token", false}, {"", "update", "", "nodes", "", false},
	})
}
