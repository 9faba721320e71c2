package shift

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// LedgerName is the ConfigMap, one in each namespace with a budget, that holds what was started today: the keys day, kWh, grams and charged
// (UIDs, so that nothing is charged twice). Nobody else should be able to write it.
const LedgerName = "leastwatt-shift-budget"

// maxCharged bounds how many UIDs a ledger remembers: a ConfigMap holds a megabyte.
const maxCharged = 20_000

// ledger is a namespace's day.
type ledger struct {
	object     *v1.ConfigMap // as it was read; nil: there is none yet
	day        string
	kWh, grams float64
	charged    map[string]bool
	order      []string
	changed    bool
}

// dayOf names the day of a time.
func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// spent tells whether the day's budget is used up.
func (l *ledger) spent(b *Budget) bool {
	return b.KWhPerDay > 0 && l.kWh >= b.KWhPerDay || b.GramsPerDay > 0 && l.grams >= b.GramsPerDay
}

func readLedger(ctx context.Context, r client.Reader, namespace string, now time.Time) (*ledger, error) {
	l := &ledger{day: dayOf(now), charged: make(map[string]bool)}
	var o v1.ConfigMap
	err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LedgerName}, &o)
	if apierrors.IsNotFound(err) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.object = &o
	if o.Data["day"] == dayOf(now.Add(24*time.Hour)) { // by the clock of another controller, or before ours went back
		l.day = o.Data["day"]
	}
	if o.Data["day"] != l.day {
		return l, nil // a new day begins at nothing
	}
	for name, to := range map[string]*float64{"kWh": &l.kWh, "grams": &l.grams} {
		if *to, err = strconv.ParseFloat(o.Data[name], 64); err != nil || !(*to >= 0) {
			return nil, fmt.Errorf("ConfigMap %s/%s: %s is %.40q: want a number, 0 or more; delete the ConfigMap to begin anew", namespace, LedgerName, name, o.Data[name])
		}
	}
	for uid := range strings.FieldsSeq(o.Data["charged"]) {
		l.charged[uid] = true
		l.order = append(l.order, uid)
	}
	return l, nil
}

// exhausted tells whether the day has no room for an item. Emissions that nobody knows do not count.
func (l *ledger) exhausted(b *Budget, i *item, grams float64) bool {
	if l.charged[string(i.object.GetUID())] {
		return false
	}
	if math.IsNaN(grams) {
		grams = 0
	}
	return b.KWhPerDay > 0 && l.kWh+i.kWh() > b.KWhPerDay || b.GramsPerDay > 0 && l.grams+grams > b.GramsPerDay
}

// charge counts an item once.
func (l *ledger) charge(i *item, grams float64) {
	uid := string(i.object.GetUID())
	if l.charged[uid] {
		return
	}
	l.charged[uid], l.changed = true, true
	l.order = append(l.order, uid)
	l.kWh += i.kWh()
	if !math.IsNaN(grams) {
		l.grams += grams
	}
}

// A debt is work that has started and was not charged then.
type debt struct {
	item  *item
	grams float64
	day   string
}

// owe has an item that starts whatever its budget says charged now, or in a later round of the same day if the ledger cannot be had.
func (c *Controller) owe(i *item, grams float64, now time.Time) {
	ns, day := i.object.GetNamespace(), dayOf(now)
	list := slices.DeleteFunc(c.owed[ns], func(d debt) bool { return d.day != day })
	if len(list) < maxCharged {
		list = append(list, debt{i, grams, day})
	}
	c.owed[ns] = list
}

// write stores the ledger if nobody else has in the meantime.
func (l *ledger) write(ctx context.Context, c client.Client, namespace string) error {
	if !l.changed {
		return nil
	}
	data := map[string]string{"day": l.day, "kWh": strconv.FormatFloat(l.kWh, 'g', -1, 64), "grams": strconv.FormatFloat(l.grams, 'g', -1, 64),
		"charged": strings.Join(l.order[max(0, len(l.order)-maxCharged):], "\n")}
	l.changed = false
	if l.object == nil {
		return c.Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: LedgerName}, Data: data})
	}
	next := l.object.DeepCopy()
	next.Data = data
	return c.Update(ctx, next) // conditional on the version that was read
}
