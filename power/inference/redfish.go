package inference

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
)

// An Advertised is the power model that a BMC names in its system's Redfish resource MachineLearningModel
// (#MachineLearningModel.v1_0_0, PowerConsumptionModel), as WAO's servers do.
type Advertised struct {
	Name    string
	URL     string // of the model server: http://HOST:PORT
	Type    string // of the protocol, as the BMC writes it
	Version string
}

// ErrNotAdvertised says that a BMC names no power model.
var ErrNotAdvertised = errors.New("the BMC names no power model")

// Discover asks a BMC, as "https://bmc", for the power model of a system; system is its identifier, as "1" or
// "Self", and "" takes the first that the BMC has. The options are those for the BMC.
func Discover(ctx context.Context, bmc, system string, o Options) (Advertised, error) {
	c, err := o.client(bmc)
	if err != nil {
		return Advertised{}, fmt.Errorf("redfish: %w", err)
	}
	defer c.Close()
	a, err := discover(ctx, c, system)
	if err != nil {
		return Advertised{}, fmt.Errorf("redfish: %s: %w", c.Base(), err)
	}
	return a, nil
}

type odataLink struct {
	ID string `json:"@odata.id"`
}

func discover(ctx context.Context, c *boundedhttp.Client, system string) (Advertised, error) {
	at := "/redfish/v1/Systems/" + url.PathEscape(system)
	if system == "" {
		var systems struct{ Members []odataLink }
		if err := get(ctx, c, "/redfish/v1/Systems", &systems); err != nil {
			return Advertised{}, err
		}
		if len(systems.Members) == 0 || systems.Members[0].ID == "" {
			return Advertised{}, fmt.Errorf("%w: it lists no system", ErrNotAdvertised)
		}
		at = systems.Members[0].ID
	}
	var links struct{ MachineLearningModel odataLink }
	if err := get(ctx, c, at, &links); err != nil {
		return Advertised{}, err
	}
	var m struct {
		PowerConsumptionModel *struct{ Name, Url, Type, Version string }
	}
	if err := get(ctx, c, cmp.Or(links.MachineLearningModel.ID, path.Join(at, "MachineLearningModel")), &m); err != nil {
		if s, ok := errors.AsType[*boundedhttp.StatusError](err); ok && s.Code == 404 {
			return Advertised{}, fmt.Errorf("%w: %w", ErrNotAdvertised, err)
		}
		return Advertised{}, err
	}
	p := m.PowerConsumptionModel
	if p == nil || p.Name == "" || p.Url == "" {
		return Advertised{}, ErrNotAdvertised
	}
	u, err := url.Parse(p.Url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return Advertised{}, fmt.Errorf("%w: its URL is not http(s)://HOST:PORT", ErrAnswer)
	}
	return Advertised{Name: p.Name, URL: strings.TrimSuffix(p.Url, "/"), Type: p.Type, Version: p.Version}, nil
}

func get(ctx context.Context, c *boundedhttp.Client, path string, v any) error {
	r, err := c.Get(ctx, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("%s: %w: %v", path, ErrAnswer, err)
	}
	return nil
}

// OpenInference returns the advertised model, asked over the Open Inference Protocol v2. The options are those
// for the model server, whose credentials are not the BMC's; an empty Version takes the advertised one.
func (a Advertised) OpenInference(o OpenInferenceOptions) (*OpenInference, error) {
	o.Version = cmp.Or(o.Version, a.Version)
	return NewOpenInference(a.URL, a.Name, o)
}
