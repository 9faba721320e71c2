package grid

import "slices"

// A place is a town, most with cloud regions.
type place struct {
	name     string
	lat, lon float64 // of the town, to a tenth of a degree or, beside another zone, a hundredth
	zone     string  // Electricity Maps
	regions  string  // "cloud:region", by spaces
}

// places are all towns of the table.
var places = slices.Concat(cloudTowns, towns)

// The table is made of public facts. Which town a region is named by: AWS, "AWS Regions and Availability Zones"; Google, "Cloud
// locations"; Microsoft, "Azure regions list". Of those that came later: asia-southeast3 is Bangkok (AlloyDB release notes, 20 January 2026), eusc-de-east-1 lies in
// Brandenburg (AWS, "Overview of the AWS European Sovereign Cloud"), around Berlin. Zone names: Electricity Maps' list of zones (/v3/zones), where a
// country with one zone has its ISO 3166 code. Zones of the United States are balancing authorities, whose names are those
// of the U.S. Energy Information Administration's form EIA-930; where several meet in a town (Oregon, Arizona,
// Wyoming), the one that other public tables of cloud regions have.
var cloudTowns = []place{
	{"Ashburn, Virginia", 39.0, -77.5, "US-MIDA-PJM", "aws:us-east-1 gcp:us-east4 azure:eastus azure:eastus2 azure:usgovvirginia azure:usdodeast"},
	{"Columbus, Ohio", 40.0, -83.0, "US-MIDA-PJM", "aws:us-east-2 aws:us-gov-east-1 gcp:us-east5"},
	{"Chicago, Illinois", 41.9, -87.6, "US-MIDA-PJM", "azure:northcentralus"},
	{"San Francisco, California", 37.8, -122.4, "US-CAL-CISO", "aws:us-west-1 azure:westus"},
	{"Los Angeles, California", 34.1, -118.2, "US-CAL-LDWP", "gcp:us-west2"},
	{"Boardman, Oregon", 45.8, -119.7, "US-NW-PACW", "aws:us-west-2 aws:us-gov-west-1"},
	{"The Dalles, Oregon", 45.6, -121.2, "US-NW-PACW", "gcp:us-west1"},
	{"Salt Lake City, Utah", 40.8, -111.9, "US-NW-PACE", "gcp:us-west3"},
	{"Las Vegas, Nevada", 36.2, -115.1, "US-NW-NEVP", "gcp:us-west4"},
	{"Quincy, Washington", 47.2, -119.9, "US-NW-GCPD", "azure:westus2"},
	{"Phoenix, Arizona", 33.4, -112.1, "US-SW-AZPS", "azure:westus3 azure:usgovarizona"},
	{"Cheyenne, Wyoming", 41.1, -104.8, "US-NW-WACM", "azure:westcentralus"},
	{"Council Bluffs, Iowa", 41.26, -95.86, "US-MIDW-MISO", "gcp:us-central1"},
	{"Des Moines, Iowa", 41.6, -93.6, "US-MIDW-MISO", "azure:centralus azure:usdodcentral"},
	{"Moncks Corner, South Carolina", 33.2, -80.0, "US-CAR-SC", "gcp:us-east1"},
	{"Dallas, Texas", 32.8, -96.8, "US-TEX-ERCO", "gcp:us-south1"},
	{"San Antonio, Texas", 29.4, -98.5, "US-TEX-ERCO", "azure:southcentralus azure:usgovtexas"},

	{"Montréal", 45.5, -73.6, "CA-QC", "aws:ca-central-1 gcp:northamerica-northeast1"},
	{"Québec", 46.8, -71.2, "CA-QC", "azure:canadaeast"},
	{"Toronto", 43.7, -79.4, "CA-ON", "gcp:northamerica-northeast2 azure:canadacentral"},
	{"Calgary", 51.0, -114.1, "CA-AB", "aws:ca-west-1"},
	{"Querétaro", 20.6, -100.4, "MX", "aws:mx-central-1 gcp:northamerica-south1 azure:mexicocentral"},
	{"São Paulo", -23.6, -46.6, "BR-CS", "aws:sa-east-1 gcp:southamerica-east1 azure:brazilsouth"},
	{"Rio de Janeiro", -22.9, -43.2, "BR-CS", "azure:brazilsoutheast"},
	{"Santiago de Chile", -33.4, -70.7, "CL-SEN", "gcp:southamerica-west1 azure:chilecentral"},

	{"Dublin", 53.3, -6.3, "IE", "aws:eu-west-1 azure:northeurope"},
	{"London", 51.5, -0.1, "GB", "aws:eu-west-2 gcp:europe-west2 azure:uksouth"},
	{"Cardiff", 51.5, -3.2, "GB", "azure:ukwest"},
	{"Paris", 48.9, 2.4, "FR", "aws:eu-west-3 gcp:europe-west9 azure:francecentral"},
	{"Marseille", 43.3, 5.4, "FR", "azure:francesouth"},
	{"Saint-Ghislain", 50.4, 3.8, "BE", "gcp:europe-west1"},
	{"Brussels", 50.9, 4.4, "BE", "azure:belgiumcentral"},
	{"Amsterdam", 52.4, 4.9, "NL", "azure:westeurope"},
	{"Eemshaven", 53.4, 6.8, "NL", "gcp:europe-west4"},
	{"Frankfurt am Main", 50.1, 8.7, "DE", "aws:eu-central-1 gcp:europe-west3 azure:germanywestcentral"},
	{"Berlin", 52.5, 13.4, "DE", "gcp:europe-west10 azure:germanynorth aws:eusc-de-east-1"},
	{"Zürich", 47.4, 8.5, "CH", "aws:eu-central-2 gcp:europe-west6 azure:switzerlandnorth"},
	{"Geneva", 46.2, 6.1, "CH", "azure:switzerlandwest"},
	{"Vienna", 48.2, 16.4, "AT", "azure:austriaeast"},
	{"Milan", 45.5, 9.2, "IT-NO", "aws:eu-south-1 gcp:europe-west8 azure:italynorth"},
	{"Turin", 45.1, 7.7, "IT-NO", "gcp:europe-west12"},
	{"Zaragoza", 41.6, -0.9, "ES", "aws:eu-south-2"},
	{"Madrid", 40.4, -3.7, "ES", "gcp:europe-southwest1 azure:spaincentral"},
	{"Warsaw", 52.2, 21.0, "PL", "gcp:europe-central2 azure:polandcentral"},
	{"Copenhagen", 55.7, 12.6, "DK-DK2", "azure:denmarkeast"},
	{"Oslo", 59.9, 10.7, "NO-NO1", "azure:norwayeast"},
	{"Stavanger", 59.0, 5.7, "NO-NO2", "azure:norwaywest"},
	{"Stockholm", 59.3, 18.1, "SE-SE3", "aws:eu-north-1 gcp:europe-north2"},
	{"Gävle", 60.7, 17.1, "SE-SE3", "azure:swedencentral"},
	{"Malmö", 55.6, 13.0, "SE-SE4", "azure:swedensouth"},
	{"Hamina", 60.6, 27.2, "FI", "gcp:europe-north1"},

	{"Tel Aviv", 32.1, 34.8, "IL", "aws:il-central-1 gcp:me-west1 azure:israelcentral"},
	{"Manama", 26.2, 50.6, "BH", "aws:me-south-1"},
	{"Dammam", 26.4, 50.1, "SA", "gcp:me-central2"},
	{"Doha", 25.3, 51.5, "QA", "gcp:me-central1 azure:qatarcentral"},
	{"Dubai", 25.2, 55.3, "AE", "aws:me-central-1 azure:uaenorth"},
	{"Abu Dhabi", 24.5, 54.4, "AE", "azure:uaecentral"},
	{"Cape Town", -33.9, 18.4, "ZA", "aws:af-south-1 azure:southafricawest"},
	{"Johannesburg", -26.2, 28.0, "ZA", "gcp:africa-south1 azure:southafricanorth"},

	{"Mumbai", 19.1, 72.9, "IN-WE", "aws:ap-south-1 gcp:asia-south1 azure:westindia"},
	{"Jamnagar", 22.5, 70.1, "IN-WE", "azure:jioindiawest"},
	{"Nagpur", 21.1, 79.1, "IN-WE", "azure:jioindiacentral"},
	{"Pune", 18.5, 73.9, "IN-WE", "azure:centralindia"},
	{"Hyderabad", 17.4, 78.5, "IN-SO", "aws:ap-south-2"},
	{"Chennai", 13.1, 80.3, "IN-SO", "azure:southindia"},
	{"Delhi", 28.6, 77.2, "IN-NO", "gcp:asia-south2"},
	{"Singapore", 1.3, 103.85, "SG", "aws:ap-southeast-1 gcp:asia-southeast1 azure:southeastasia"},
	{"Kuala Lumpur", 3.1, 101.7, "MY-WM", "aws:ap-southeast-5 azure:malaysiawest"},
	{"Jakarta", -6.2, 106.8, "ID", "aws:ap-southeast-3 gcp:asia-southeast2 azure:indonesiacentral"},
	{"Bangkok", 13.8, 100.5, "TH", "aws:ap-southeast-7 gcp:asia-southeast3"},
	{"Hong Kong", 22.3, 114.2, "HK", "aws:ap-east-1 gcp:asia-east2 azure:eastasia"},
	{"Changhua", 24.1, 120.5, "TW", "gcp:asia-east1"},
	{"Taipei", 25.0, 121.6, "TW", "aws:ap-east-2 azure:taiwannorth azure:taiwannorthwest"},
	{"Beijing", 39.9, 116.4, "CN", "aws:cn-north-1 azure:chinanorth azure:chinanorth2 azure:chinanorth3"},
	{"Shanghai", 31.2, 121.5, "CN", "azure:chinaeast azure:chinaeast2 azure:chinaeast3"},
	{"Zhongwei", 37.5, 105.2, "CN", "aws:cn-northwest-1"},
	{"Seoul", 37.6, 127.0, "KR", "aws:ap-northeast-2 gcp:asia-northeast3 azure:koreacentral"},
	{"Busan", 35.2, 129.1, "KR", "azure:koreasouth"},
	{"Tokyo", 35.7, 139.7, "JP-TK", "aws:ap-northeast-1 gcp:asia-northeast1 azure:japaneast"},
	{"Osaka", 34.7, 135.5, "JP-KN", "aws:ap-northeast-3 gcp:asia-northeast2 azure:japanwest"},
	{"Sydney", -33.9, 151.2, "AU-NSW", "aws:ap-southeast-2 gcp:australia-southeast1 azure:australiaeast"},
	{"Canberra", -35.3, 149.1, "AU-NSW", "azure:australiacentral azure:australiacentral2"},
	{"Melbourne", -37.8, 145.0, "AU-VIC", "aws:ap-southeast-4 gcp:australia-southeast2 azure:australiasoutheast"},
	{"Auckland", -36.8, 174.8, "NZ", "aws:ap-southeast-6 azure:newzealandnorth"},
}
