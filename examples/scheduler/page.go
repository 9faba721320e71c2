package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericfilters "k8s.io/apiserver/pkg/server/filters"
	"k8s.io/client-go/kubernetes/scheme"
	schedulerconfig "k8s.io/kubernetes/cmd/kube-scheduler/app/config"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
)

type pageOptions struct{ port int }

// serve shows the decisions until ctx ends, on a port of their own but to whom the scheduler's own port would
// answer: with its certificate, authentication and authorization. A reader needs a role with the
// non-resource URL /leastwatt/decisions and the verb get.
func (o pageOptions) serve(ctx context.Context, cc *schedulerconfig.CompletedConfig, d *scheduler.Decisions) error {
	if cc.SecureServing == nil {
		return errors.New("--secure-port is 0, so there is no certificate to serve it with")
	}
	host, _, err := net.SplitHostPort(cc.SecureServing.Listener.Addr().String())
	if err != nil {
		return err
	}
	s := *cc.SecureServing
	if s.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(o.port))); err != nil {
		return fmt.Errorf("--leastwatt-secure-port: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(scheduler.DecisionsPath, d)
	info := new(request.RequestInfoFactory)
	var h http.Handler = mux
	h = filters.WithAuthorization(h, cc.Authorization.Authorizer, scheme.Codecs)
	h = filters.WithAuthentication(h, cc.Authentication.Authenticator, filters.Unauthorized(scheme.Codecs), nil, nil)
	h = filters.WithRequestInfo(h, info)
	h = genericfilters.WithPanicRecovery(h, info)
	_, _, err = s.Serve(h, 5*time.Second, ctx.Done())
	return err
}
