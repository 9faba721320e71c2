// Package shift starts work when the grid is clean: pods that carry our scheduling gate, and Jobs and CronJobs that are suspended.
//
// Its main type is [Controller]. In rounds it looks at all work that waits, plans the starts together by the forecast of each zone, the
// latest starts and the cores that may be in use, writes the plan on each object ([PlannedAnnotation], [ReasonAnnotation], an Event), and
// releases what is due. What it needs to know of an object stands in annotations; what is not told comes from the namespace's [Policy].
//
// # What always holds
//
// No work is held beyond its latest start (deadline − duration × margin), and none is held that nothing is forecast for. The latest start is
// written on the object as [ReleaseByAnnotation] before anything else, in plain RFC 3339: a controller that was away releases by it first of
// all when it is back, whatever the policies or the provider then say, and so can anybody else (kubectl, a CronJob with [ReleaseOverdue]).
// That time is kept when a policy changes or a deadline is put off; one that is brought forward counts.
// An annotation that cannot be read releases the object, with a warning.
//
// # Several at once
//
// Every write is conditional on the version of the object that was read, and budgets are charged once per object's UID, so that two
// controllers at once do no harm; run them with leader election, so that one works.
//
// # What it needs
//
// get, list, watch and patch on pods, jobs.batch and cronjobs.batch; get, create and update on configmaps in the namespaces with budgets
// (one, [LedgerName], holds the day's sums); create and patch on events.events.k8s.io; for leader election get, create and update on
// leases.coordination.k8s.io, and create and patch on events, in its own namespace. With Kueue also get, list, watch and patch on workloads.kueue.x-k8s.io,
// list and watch on admissionchecks.kueue.x-k8s.io, and patch on the status of both.
package shift

import "time"

// What marks an object as ours. Pods carry Gate among their scheduling gates; Jobs and CronJobs are suspended and carry Label with the
// value "true".
const (
	Gate  = "leastwatt.github.io/shift"
	Label = "leastwatt.github.io/shift"
)

// Annotations that people write. All may be left out.
const (
	DeadlineAnnotation = "leastwatt.github.io/deadline"  // RFC 3339: when the work shall have ended
	MaxDelayAnnotation = "leastwatt.github.io/max-delay" // Go duration since creation, instead of a deadline: the latest start
	DurationAnnotation = "leastwatt.github.io/duration"  // Go duration: how long the work is expected to run
	ZoneAnnotation     = "leastwatt.github.io/zone"      // of the grid
	WattsAnnotation    = "leastwatt.github.io/watts"     // what the work is expected to draw
)

// Annotations that the controller writes.
const (
	ReleaseByAnnotation = "leastwatt.github.io/release-by"    // RFC 3339: the latest start. It may be written by others beforehand
	PlannedAnnotation   = "leastwatt.github.io/planned-start" // RFC 3339
	ReasonAnnotation    = "leastwatt.github.io/shift-reason"  // in words
	ReleasedAnnotation  = "leastwatt.github.io/released-at"   // RFC 3339; from then on the object is left alone
	AtOnceAnnotation    = "leastwatt.github.io/at-once-grams" // expected of an immediate start when the object was first planned
)

// slot is the length of the planner's slots: what starts within one is the same to it.
const slot = 15 * time.Minute

// horizon is how far ahead is planned. What must start later is planned as if it had to start within.
const horizon = 96 * time.Hour
