package profiles

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring/learn"
)

var _ learn.Keeper = keeping{}

// MaxLearned bounds what is read of a learned model in the status of a NodeProfile, after it was unpacked.
const MaxLearned = 256 << 10

// maxPacked is how long a learned model may be in a status, where it is base64. The API server refuses one that is longer, and all
// else of the status with it.
const maxPacked = 16384

// A notebook is what was learned of nodes: what their profiles' status said when it was seen last, and what this program
// has learned since, if it is to put that there. It implements [learn.Store].
type notebook struct {
	mu    sync.Mutex
	told  map[string]*v1alpha1.LearnedModel // guarded by mu: by profiles, all of them; nil is nothing, and what it points to is not changed
	fresh map[string]*v1alpha1.LearnedModel // guarded by mu: by this program
}

func newNotebook() *notebook {
	return &notebook{told: make(map[string]*v1alpha1.LearnedModel), fresh: make(map[string]*v1alpha1.LearnedModel)}
}

// tell notes what a profile's status says, where nil is nothing, and returns whether this program did not know that.
func (b *notebook) tell(node string, l *v1alpha1.LearnedModel) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.told[node]
	b.told[node] = l
	return l != nil && !same(l, old) && !same(l, b.fresh[node])
}

func same(a, b *v1alpha1.LearnedModel) bool { return b != nil && bytes.Equal(a.Model, b.Model) }

// forget drops what is known of a node.
func (b *notebook) forget(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.told, node)
	delete(b.fresh, node)
}

// Load implements [learn.Store].
func (b *notebook) Load(node string) (*model.Model, error) {
	b.mu.Lock()
	l := b.told[node]
	b.mu.Unlock()
	if l == nil {
		return nil, nil
	}
	packed, err := gzip.NewReader(bytes.NewReader(l.Model))
	if err != nil {
		return nil, fmt.Errorf("NodeProfile %q: status.learned: %w", node, err)
	}
	text, err := io.ReadAll(io.LimitReader(packed, MaxLearned+1))
	switch {
	case err != nil:
	case len(text) > MaxLearned:
		err = fmt.Errorf("unpacks to more than %d bytes", MaxLearned)
	default:
		var got *model.Model
		if got, err = model.Unmarshal(text); err == nil {
			return got, nil
		}
	}
	return nil, fmt.Errorf("NodeProfile %q: status.learned: %w", node, err)
}

// keeping is a notebook that keeps what is learned: a [learn.Keeper].
type keeping struct{ *notebook }

// Save implements [learn.Keeper]. Of a node without a profile nothing is kept: there is no status that it could stand in.
func (b keeping) Save(node string, x *model.Model) error {
	text, err := model.Marshal(x)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if n := base64.StdEncoding.EncodedLen(packed.Len()); n > maxPacked {
		return fmt.Errorf("NodeProfile %q: what was learned takes %d bytes of status: want at most %d", node, n, maxPacked)
	}
	l := &v1alpha1.LearnedModel{At: metav1.NewTime(time.Now()), Model: packed.Bytes()}
	if x.Fitted != nil {
		l.Readings = int64(x.Fitted.Samples)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.told[node]; ok {
		b.fresh[node] = l
	}
	return nil
}

// Learned returns what this program has learned of a node, for the status of its profile; nil where that is not the
// node's model, or without [Options.Keep]. It is not to be changed.
func (p *Provider) Learned(node string) *v1alpha1.LearnedModel {
	if v := p.site.View().Node(node); v == nil || v.Model != learn.Label {
		return nil
	}
	p.learned.mu.Lock()
	defer p.learned.mu.Unlock()
	return p.learned.fresh[node]
}
