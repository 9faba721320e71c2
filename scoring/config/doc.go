// Package config reads the one YAML file that says what a site is made of: which sensors its servers have
// (section sensors, read by package sensors/config), which power model each server has (models), how work is
// placed (scoring), and what electricity costs where (objective, read by package sensors/grid/config).
//
// Its main type is [Config]. Reading is strict: a field that does not exist, is given twice, has the wrong
// type or makes no sense is an error with file, line and field. The first model that fits a machine is its model;
// one without nodes, labels and hardware fits every machine. A last model {kind: prior, learn: true} therefore
// leaves no machine without one.
//
//	sensors: …                  # see package sensors/config
//	models:
//	- name: lab                 # for explanations
//	  nodes: [n1, n2]           # machines by name,
//	  labels: {rack: r7}        # by labels, all of which must be there,
//	  selector: "rack in (r7, r8), !old" # by a label selector as Kubernetes writes it,
//	  hardware: PowerEdge R7*   # and by system or CPU (* stands for any text), as the machine's BMC tells them, or a label:
//	  hardwareLabel: leastwatt.github.io/hardware # the default
//	  kind: piecewise
//	  watts: [50, 80, 100]      # at even steps from idle to full load, or
//	  knots: [{utilization: 0, watts: 50}, {utilization: 1, watts: 100}]
//	  speed: 1.5                # work per core over the reference core's; 0, the default, is unknown and counts as 1. Or
//	  throughput: {ssjOps: 5000000, threads: 96} # which it follows from
//	  offWatts: 4               # while switched off; default 0
//	  standbyWatts: 9           # while suspended; default offWatts. A node's label leastwatt.github.io/power-state says off or standby
//	  wake: {watts: 180, seconds: 240} # to start or resume it; counts for servers that are off, and with switchOff for empty ones
//	  gpu: {count: 8, idleWatts: 50, activeWatts: 350, limitWatts: 0, input: gpu_utilization_ratio} # each, on top of the model; the last two are
//	                            # the defaults. Its nodes need a source of the input, such as dcgm
//	  prior: false              # true says that the model was not fitted to this server
//	  inlet: published          # how watts follow the inlet temperature: package power's published response, or
//	                            # {referenceCelsius, perDegree, fanWatts, fanKneeCelsius, fanGain, fanLimit, lowCelsius, highCelsius, outside: clamp | reject}
//	- {kind: linear, idleWatts: 80, peakWatts: 160}
//	- {kind: exponential, k0: 174, k1: -91.5, k2: -0.0719} # as PEAKS has them, over CPU in percent
//	- {kind: published, server: Dell PowerEdge R610}       # of the embedded table; a prior
//	- {kind: published}         # the same, by what hardwareLabel or the BMC says
//	- {kind: file, file: models/r740.json}                 # of package power/model; relative to this file; followed
//	- {kind: file, file: models}  # a folder: each machine has the model of its name, else that named like its hardware
//	- kind: file
//	  file: models
//	  bindings: [{model: gpu, selector: gpu=yes}, {model: r7, hardware: "*R7*"}, {model: odd, node: n9}] # before names
//	- kind: prior                 # the statistics of published servers, and the machine's closest kin: no machine is without
//	  system: PowerEdge R740      # default: what hardwareLabel says, else the BMC
//	  cpu: Xeon Gold 6140         # default: what cpuLabel says, else the BMC
//	  cpuLabel: leastwatt.github.io/cpu # the default; _ in its values stands for a space
//	  year: 2018                  # this, chips, cores, threads (default: the CPUs that the machine counts), memoryGB and tdpWatts
//	                              # (of a chip) are unknown by default, where the BMC does not tell them
//	  learn: true                 # follows the machine's readings of utilization and power; default false
//	  folder: learned             # where what was learned outlives a restart; default: nowhere
//	- kind: remote                # asked in the background for each machine's curve; unknown until it has answered
//	  protocol: openInference     # the default, over HTTP; openInferenceGRPC, tensorflowInputs or tensorflowInstances
//	  url: https://models:8080    # grpcs://HOST:PORT or grpc://HOST:PORT for gRPC
//	  model: power
//	  version: v1                 # default: the server chooses
//	  tokenFile: token            # or user and passwordFile; files are read at every request; default: no credentials
//	  tls: {caFile: ca.pem, certFile: client.pem, keyFile: client-key.pem} # also serverName, insecureSkipVerify
//	  timeout: 10s                # the default
//	  features: [{input: utilization, scale: 32, offset: 0, step: 0}, {input: inlet}, {input: pressure}] # columns of a row
//	- kind: remote                # in place of url and model: each machine's BMC names its model server, as WAO's do
//	  discover: {url: "https://{{.Name}}-bmc", user: monitor, passwordFile: bmc, tls: {caFile: bmc-ca.pem}, hosts: ["models:8080"]}
//	  features: [{input: utilization}]
//	scoring:
//	  scorer: envelope          # or marginal
//	  switchOff: false          # servers without work are switched off
//	  wakeHorizon: 1h           # over how long the energy of starting a server is spread
//	  gramsPerKWh: 350          # where no source of the section objective tells it; default unknown
//	  maxAge: 1m                # of a reading, by the hardware's time
//	  refresh: 2s               # how often readings and models are joined
package config
