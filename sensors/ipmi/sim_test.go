package ipmi_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/internal/samples"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
)

// TestOpenIPMI reads OpenIPMI's simulator, which shares no code with go-ipmi, and changes a temperature while
// the session is open.
func TestOpenIPMI(t *testing.T) {
	program, err := exec.LookPath("ipmi_sim")
	if err != nil {
		t.Skip("ipmi_sim is not installed: apt-get install openipmi")
	}
	sample, ok := samples.Path("ipmi_sim")
	if !ok {
		t.Skip("no ../shared/samples/ipmi_sim beside the repository")
	}
	dir := t.TempDir()
	port := freePort(t)
	lan := strings.ReplaceAll(readFile(t, filepath.Join(sample, "lan.conf")), "9623", fmt.Sprint(port))
	emu := strings.ReplaceAll(readFile(t, filepath.Join(sample, "sim.emu")), "@STATE@", dir)
	writeFile(t, filepath.Join(dir, "lan.conf"), lan)
	writeFile(t, filepath.Join(dir, "sim.emu"), emu)
	for i, raw := range []int{47, 61, 38, 53, 62} {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("s%d", i+1)), fmt.Sprintln(raw))
	}
	cmd := exec.Command(program, "-c", filepath.Join(dir, "lan.conf"), "-f", filepath.Join(dir, "sim.emu"), "-s", dir, "-n")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	s := source(t, ipmi.BMC{Address: fmt.Sprintf("127.0.0.1:%d", port), Username: "ADMIN", Password: "admin-pw"}, ipmi.Options{Timeout: time.Second, Attempts: 5})
	got := eventually(t, s, func(got map[sensors.Kind]sensors.Reading) bool { return got[sensors.InletTemp].Value == 23.5 })
	want(t, got, sensors.InletTemp, 23.5, "ipmi:SDR/Inlet Temp")
	want(t, got, sensors.CPUTemp, 61, "ipmi:SDR/CPU1 Temp")
	want(t, got, sensors.ExhaustTemp, 38, "ipmi:SDR/Exhaust Temp")
	want(t, got, sensors.Power, 212, "ipmi:SDR/System Power") // it has no DCMI
	want(t, got, sensors.FanSpeed, 6200, "ipmi:SDR/Fan1")

	writeFile(t, filepath.Join(dir, "s1"), "61\n")
	got = eventually(t, s, func(got map[sensors.Kind]sensors.Reading) bool { return got[sensors.InletTemp].Value > 24 })
	if v := got[sensors.InletTemp].Value; math.Abs(v-30.5) > 1e-9 {
		t.Errorf("inlet %v after the change, want 30.5", v)
	}

	_, err = source(t, ipmi.BMC{Address: fmt.Sprintf("127.0.0.1:%d", port), Username: "ADMIN", Password: "wrong-Pa55"}, ipmi.Options{}).Read(t.Context(), "n1")
	if sensors.Reason(err) != "unauthorized" {
		t.Errorf("a wrong password gives %v", err)
	}
}

// eventually reads until ok: the simulator takes a while to start and polls its files.
func eventually(t *testing.T, s *ipmi.Source, ok func(map[sensors.Kind]sensors.Reading) bool) map[sensors.Kind]sensors.Reading {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var list []sensors.Reading
		if list, err = s.Read(t.Context(), "n1"); err == nil {
			if got := byKind(t, list); ok(got) {
				return got
			}
		}
	}
	t.Fatalf("the simulator never gave the value; last error: %v", err)
	return nil
}

// freePort returns a port below those that the system gives to clients, which would take it meanwhile.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		if c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			_ = c.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
