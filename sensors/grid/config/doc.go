// Package config reads the section "objective" of a site's YAML file: what a kilowatt-hour costs at the place of
// each machine, in grams of CO2 equivalent and in money, and which of the two is to be kept low.
//
// Its main type is [Config]. Reading is strict: whatever is not understood is an error with file, line and
// field. Passwords and tokens stand in files or in the environment, never in the YAML.
//
//	objective:
//	  minimize: grams            # or watts, the default, or money
//	  signal: average_lifecycle_gco2eq_per_kwh # of the intensity; the default
//	  currency: EUR              # of all prices
//	  rates: {GBP: 1.17}         # exchange rates that you give: what one unit of another currency is worth in it
//	  carbonPrice: 80            # money per tonne of CO2 equivalent, counted with money; default 0
//	  refresh: 1m                # how often the sources are asked for what they know; the default
//	  zone:                      # of a machine, in the names of the sources
//	    label: topology.kubernetes.io/region # the default; its value is the zone, unless
//	    names: {berlin-1: DE}    # it is listed here, or
//	    cloud: aws               # it is a region of aws, gcp or azure
//	    default: DE              # of machines without the label
//	  pue: 1.3                   # power usage effectiveness; default 1
//	  factor: 1                  # whatever else multiplies: losses, a policy; default 1
//	  sites:                     # the first whose labels a machine has says otherwise
//	  - {labels: {hall: north}, zone: SE, pue: 1.08}
//	  - {labels: {hall: south}, at: [48.9, 2.4]} # latitude and longitude: FR, by the table of package grid
//	  intensity:                 # sources in order: the first that knows a zone's value is believed; while one is away, what it forecast last
//	  - {type: electricity-maps, url: https://api.electricitymaps.com, tokenFile: em-token, interval: 5m, maxAge: 1h}
//	  - {type: csv, file: intensity.csv}   # a time column, then one column a zone
//	  - {type: static, value: 350, zones: [DE, FR]}
//	  price:
//	  - type: time-of-use
//	    base: 0.31
//	    location: Europe/Berlin
//	    holidays: [12-25, 2026-04-06] # count as Sundays
//	    rates:                     # the first that holds decides, else base
//	    - {days: [mon, tue, wed, thu, fri], from: "22:00", until: "24:00", price: 0.22}
//	    - {first: 11-01, last: 03-31, from: "17:00", until: "20:00", price: 0.41} # in winter
//
// A CSV file's times that name no zone are by the clock of its location (UTC), and its columns may name their unit, as US (lb/MWh).
// A carbon-aware-sdk over WattTime that tells of "westus" by the name of the region is {locations: {US-CAL-CISO: westus}, answers: {US-CAL-CISO: CAISO_NORTH}}.
// Electricity Maps tells day-ahead prices too, where it stands under price, each zone's in its market's currency; with measured: true it tells no estimates. NESO's regions are zones too: GB-13, GB-EC2A.
//
// Prices in another currency say so by the source's currency, or in the header of a CSV file's column, as GB (GBP/MWh).
//
// The other types are profile (profile: sine:300:100:86400), neso, watttime (user, passwordFile), prometheus (expr,
// label, scale, time) and carbon-aware. Sources of average and of marginal intensity, of direct and of
// life-cycle emissions do not stand in one list: signal says which it is.
package config
