package controlplane

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// writeKubeconfig writes a kubeconfig that proves user with a new client certificate. It holds the
// keys themselves, so the one file is enough to reach the cluster.
func (c *credentials) writeKubeconfig(path, server, user string, groups ...string) error {
	identity, err := c.ca.client(user, groups...)
	if err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters["leastwatt"] = &api.Cluster{Server: server, CertificateAuthorityData: c.ca.pem}
	config.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: identity.cert, ClientKeyData: identity.key}
	config.Contexts["leastwatt"] = &api.Context{Cluster: "leastwatt", AuthInfo: user}
	config.CurrentContext = "leastwatt"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", user, err)
	}
	return nil
}
