package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// file is the whole file.
type file struct {
	Sensors *yaml.Node     `yaml:"sensors"`
	Models  []*yaml.Node   `yaml:"models" doc:"the first that fits a machine is its model"`
	Scoring scoringSection `yaml:"scoring"`

	Objective *yaml.Node `yaml:"objective"`
}

type scoringSection struct {
	Scorer      string        `yaml:"scorer" enum:"envelope,marginal" doc:"what a demand is said to cost (envelope)"`
	SwitchOff   bool          `yaml:"switchOff" doc:"servers without work are switched off (false)"`
	WakeHorizon time.Duration `yaml:"wakeHorizon" doc:"over how long the energy of starting a server is spread (1h)"`
	GramsPerKWh float64       `yaml:"gramsPerKWh" min:"0" max:"5000" doc:"carbon intensity of the power, where no source of the section objective tells it (unknown)"`
	MaxAge      time.Duration `yaml:"maxAge" doc:"of a reading, by the hardware's time (1m)"`
	Refresh     time.Duration `yaml:"refresh" doc:"how often readings and models are joined (2s)"`
}

// which is what models of all kinds have: which machines they are for, and what goes with their watts.
type which struct {
	Name          string            `yaml:"name" doc:"for explanations"`
	Kind          string            `yaml:"kind" required:"true" enum:"piecewise,linear,exponential,published,prior,remote,file"`
	Nodes         []string          `yaml:"nodes" doc:"machines by name"`
	Labels        map[string]string `yaml:"labels" doc:"labels that must be there"`
	Selector      string            `yaml:"selector" doc:"label selector as Kubernetes writes it: rack in (r1,r2), !old"`
	Hardware      string            `yaml:"hardware" doc:"system or CPU by the label or as the BMC tells it; * stands for any text"`
	HardwareLabel string            `yaml:"hardwareLabel" doc:"label that says which hardware a machine is (leastwatt.github.io/hardware)"`
	Speed         float64           `yaml:"speed" min:"0" max:"1000" doc:"work per core over the reference core's (unknown, counts as 1)"`
	Throughput    *throughput       `yaml:"throughput" doc:"what speed follows from"`
	OffWatts      float64           `yaml:"offWatts" min:"0" max:"1e6" doc:"while switched off (0)"`
	StandbyWatts  *float64          `yaml:"standbyWatts" min:"0" max:"1e6" doc:"while suspended (offWatts)"`
	Wake          *wake             `yaml:"wake" doc:"to start or resume it; counts for servers that are off, and with switchOff for empty ones"`
	GPU           *gpu              `yaml:"gpu" doc:"what GPUs draw on top of the model"`
	Prior         *bool             `yaml:"prior" doc:"the model was not fitted to this server (by kind)"`
	Inlet         *yaml.Node        `yaml:"inlet" doc:"how watts follow the inlet temperature: published, or the fields of a response"`
}

type throughput struct {
	SSJOps  float64 `yaml:"ssjOps" required:"true" min:"1" max:"1e15"`
	Threads int     `yaml:"threads" required:"true" min:"1" max:"1e6"`
}

type wake struct {
	Watts   float64 `yaml:"watts" required:"true" min:"0" max:"1e6"`
	Seconds float64 `yaml:"seconds" required:"true" min:"0" max:"1e5"`
}

type gpu struct {
	Count       int     `yaml:"count" required:"true" min:"1" max:"1024"`
	IdleWatts   float64 `yaml:"idleWatts" required:"true" min:"0" max:"1e5" doc:"of each"`
	ActiveWatts float64 `yaml:"activeWatts" required:"true" min:"0" max:"1e5" doc:"of each"`
	LimitWatts  float64 `yaml:"limitWatts" min:"0" max:"1e5" doc:"of each (none)"`
	Input       string  `yaml:"input" doc:"activity of a state (gpu_utilization_ratio)"`
}

// The kinds of models.
type (
	piecewiseSection struct {
		which
		Watts []float64 `yaml:"watts" min:"0" doc:"at even steps from idle to full load"`
		Knots []knot    `yaml:"knots" doc:"in place of watts"`
	}
	linearSection struct {
		which
		IdleWatts float64 `yaml:"idleWatts" required:"true" min:"0" max:"1e6"`
		PeakWatts float64 `yaml:"peakWatts" required:"true" min:"0" max:"1e6"`
	}
	exponentialSection struct {
		which
		K0 float64 `yaml:"k0" required:"true" min:"-1e6" max:"1e6" doc:"as PEAKS has them, over CPU in percent"`
		K1 float64 `yaml:"k1" required:"true" min:"-1e6" max:"1e6"`
		K2 float64 `yaml:"k2" required:"true" min:"-10" max:"10"`
	}
	publishedSection struct {
		which
		Server string `yaml:"server" doc:"of the embedded table (what the machine says of its hardware)"`
	}
	fileSection struct {
		which
		File     string    `yaml:"file" required:"true" doc:"a model file, or a folder of them, of package power/model; relative to this file; followed"`
		Bindings []binding `yaml:"bindings" doc:"which model of the folder a machine has (that of its name, else of its hardware)"`
	}
	priorSection struct {
		which
		System   string  `yaml:"system" doc:"what hardwareLabel or the BMC says"`
		CPU      string  `yaml:"cpu" doc:"what cpuLabel or the BMC says"`
		CPULabel string  `yaml:"cpuLabel" doc:"leastwatt.github.io/cpu; _ in its values stands for a space"`
		Year     int     `yaml:"year" max:"3000" doc:"of the hardware's availability (unknown)"`
		Chips    int     `yaml:"chips" max:"64" doc:"CPU packages (what the BMC says)"`
		Cores    int     `yaml:"cores" max:"100000" doc:"of all chips (what the BMC says)"`
		Threads  int     `yaml:"threads" max:"100000" doc:"of all chips (the CPUs that the machine counts)"`
		TDPWatts float64 `yaml:"tdpWatts" min:"0" max:"1e4" doc:"of a chip (unknown)"`
		MemoryGB float64 `yaml:"memoryGB" min:"0" max:"1e6" doc:"what the BMC says"`
		Learn    bool    `yaml:"learn" doc:"follows the machine's readings (false)"`
		Folder   string  `yaml:"folder" doc:"where what was learned outlives a restart (nowhere)"`
	}
	remoteSection struct {
		which
		server
		Protocol string        `yaml:"protocol" enum:"openInference,openInferenceGRPC,tensorflowInputs,tensorflowInstances" doc:"openInference; with discover, as the BMC says"`
		URL      string        `yaml:"url" doc:"of the model server; for openInferenceGRPC, grpcs://HOST:PORT or grpc://HOST:PORT"`
		Model    string        `yaml:"model" doc:"name of the model"`
		Version  string        `yaml:"version" doc:"of the model (the server chooses)"`
		Discover *discover     `yaml:"discover" doc:"in place of url and model: each machine's BMC names its model server, in the Redfish resource MachineLearningModel"`
		Timeout  time.Duration `yaml:"timeout" doc:"of one request (10s)"`
		Features []feature     `yaml:"features" required:"true" doc:"columns of a row"`
	}
)

type knot struct {
	Utilization float64 `yaml:"utilization" required:"true" min:"0" max:"1"`
	Watts       float64 `yaml:"watts" required:"true" min:"0" max:"1e6"`
}

type binding struct {
	Model    string `yaml:"model" required:"true" doc:"name in the model's file"`
	Node     string `yaml:"node" doc:"a machine's name; or"`
	Selector string `yaml:"selector" doc:"a label selector; or"`
	Hardware string `yaml:"hardware" doc:"a system or CPU name, in which * stands for any text"`
}

type inletSection struct {
	ReferenceCelsius float64 `yaml:"referenceCelsius" required:"true" min:"-100" max:"200"`
	PerDegree        float64 `yaml:"perDegree" required:"true" min:"-1" max:"1"`
	FanWatts         float64 `yaml:"fanWatts" min:"0" max:"1e6"`
	FanKneeCelsius   float64 `yaml:"fanKneeCelsius" min:"-100" max:"200"`
	FanGain          float64 `yaml:"fanGain" min:"0" max:"100"`
	FanLimit         float64 `yaml:"fanLimit" min:"0" max:"100"`
	LowCelsius       float64 `yaml:"lowCelsius" required:"true" min:"-100" max:"200"`
	HighCelsius      float64 `yaml:"highCelsius" required:"true" min:"-100" max:"200"`
	Outside          string  `yaml:"outside" enum:"clamp,reject" doc:"clamp"`
}

// server is how a server is trusted and what it is told who asks.
type server struct {
	User         string       `yaml:"user"`
	PasswordFile string       `yaml:"passwordFile" doc:"read at every request"`
	TokenFile    string       `yaml:"tokenFile" doc:"bearer token, read at every request"`
	TLS          *tlsSettings `yaml:"tls" doc:"how the server is verified (by the system's roots)"`
}

type tlsSettings struct {
	CAFile             string `yaml:"caFile" doc:"PEM file of the authorities to trust"`
	CertFile           string `yaml:"certFile" doc:"PEM file of a client certificate"`
	KeyFile            string `yaml:"keyFile" doc:"PEM file of its key"`
	ServerName         string `yaml:"serverName" doc:"the name to verify"`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" doc:"do not verify, for this server alone"`
}

type discover struct {
	server
	URL     string        `yaml:"url" required:"true" doc:"of the BMC, a template over the machine: https://{{.Name}}-bmc"`
	System  string        `yaml:"system" doc:"Id of the computer system (the first)"`
	Timeout time.Duration `yaml:"timeout" doc:"of one request (10s)"`
	Hosts   []string      `yaml:"hosts" doc:"HOST:PORT of the only model servers that are believed; must be given where they get credentials (any)"`
}

type feature struct {
	Input  string   `yaml:"input" required:"true"`
	Scale  *float64 `yaml:"scale" min:"-1e12" max:"1e12" doc:"1"`
	Offset float64  `yaml:"offset" min:"-1e12" max:"1e12"`
	Step   float64  `yaml:"step" min:"0" max:"1e12" doc:"rounds (not)"`
}
