package trace

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// TestParseColumns reads the same two jobs by two maps: with names of its own and a header, and without one.
func TestParseColumns(t *testing.T) {
	want := []simulate.Job{
		{Name: "a", Duration: 5 * time.Second, Requests: batch.Resources{CPU: 32, Memory: 2 << 20, GPU: 1}, Use: 0.5, Priority: 3, Class: "u/3", Deadline: 9 * time.Second},
		{Name: "b", Arrival: time.Second, Duration: time.Second, Requests: batch.Resources{CPU: 64, Memory: 1 << 20}, Class: "v/0"},
	}
	for text, file := range map[string]string{
		"name=Task,arrival=submit_ms,start=start_ms,end=end_ms,timeunit=1ms,cpu=cpu,cpuunit=64,memory=mib,memoryunit=1048576,gpu=gpu,gpuunit=0.5,gputimes=n,use=percent,useunit=0.01,priority=prio,deadline=due,class=user+prio": "TASK,submit_ms,start_ms,end_ms,cpu,mib,gpu,n,percent,prio,due,user\n" +
			"a,1000,2000,7000,0.5,2,1,2,50,3,10000,u\nb,2000,2000,3000,1,1,0,0,,0,,v\n",
		"comma=tab,header=id+at+run+cores+mem+g+use+p+due+u,name=id,arrival=at,duration=run,cpu=cores,memory=mem,gpu=g,use=use,priority=p,deadline=due,class=u+p": "a\t1\t5\t32\t2097152\t1\t0.5\t3\t10\tu\n" +
			"b\t2\t1\t64\t1048576\t0\t\t0\t\tv\n",
	} {
		c, err := ParseColumns(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Read("some.csv", strings.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Jobs); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		_, err = c.Read("some.csv", strings.NewReader(strings.Replace(file, "u", "\"", 1)))
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: a broken file gives %v", text, err)
		}
	}
	for _, bad := range []string{"", "arrival", "arrival=a", "arrival=a,duration=b,colour=c", "arrival=a,duration=b,timeunit=0s", "arrival=a,duration=b,timeunit=soon",
		"arrival=a,duration=b,cpuunit=-1", "arrival=a,duration=b,comma=ab", "arrival=a,duration=b,timestamps=perhaps"} {
		if _, err := ParseColumns(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// TestUseAndDeadline: a use of 0 is no use, an empty one unknown; a deadline that is over before anything arrives is still one.
func TestUseAndDeadline(t *testing.T) {
	c := Columns{Arrival: "at", Duration: "run", CPU: "cpu", Use: "use", Deadline: "due"}
	got, err := c.Read("f", strings.NewReader("at,run,cpu,use,due\n100,10,4,0,50\n101,10,4,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m := got.Jobs[0].MeanUse(); m > 1e-6 {
		t.Errorf("of a use of 0 comes %v", m)
	}
	if got.Jobs[1].MeanUse() != 1 || got.Jobs[1].Deadline != 0 {
		t.Errorf("%+v", got.Jobs[1])
	}
	if d := got.Jobs[0].Deadline; d <= 0 || d > time.Second {
		t.Errorf("the deadline has become %v", d)
	}
}

// FuzzColumns reads foreign bytes by a foreign map: it ends, and what it returns is valid.
func FuzzColumns(f *testing.F) {
	f.Add("arrival=a,duration=b,cpu=c", "a,b,c\n1,2,3\n")
	f.Add("arrival=a,end=b,comma=;,header=a+b,timestamps=true", "2025-01-01T00:00:00Z;2025-01-01T00:00:01Z\n")
	f.Fuzz(func(t *testing.T, columns, text string) {
		c, err := ParseColumns(columns)
		if err != nil {
			return
		}
		res, err := c.Read("f", strings.NewReader(text))
		if err != nil {
			return
		}
		for i := range res.Jobs {
			if err := res.Jobs[i].Validate(); err != nil {
				t.Fatalf("%q by %q: %v", text, columns, err)
			}
		}
	})
}
