// Package compat reads what WAO and PEAKS left in a cluster, as it is, and asks for NodeProfiles and PowerModels that
// say the same: WAO's NodeConfigs and NodeConfigTemplates of both groups ([WAO]), the node labels of its first version
// ([Labels]), and PEAKS' node power models ([Peaks]). It writes nothing itself; package controllers does.
package compat
