package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

// scenario is what the calls are about: one payer whose instance ran for an hour (10 credits at the
// default price) and one whose instance is still running.
type scenario struct {
	payer, instance                 string
	busyPayer, runningInstance      string
	started, stopping, stopped, now time.Time
	// Four good events, one that lacks nearly everything, and a line that no import understands. The last
	// two differ from run to run: the same bytes rejected again would only count as repeated.
	published, broken, notImportable []byte
	idempotencyKey                   string
}

func newScenario(now time.Time) *scenario {
	// The service keeps milliseconds.
	now = now.UTC().Truncate(time.Millisecond)
	s := &scenario{
		payer:           "team:" + newUUID(),
		instance:        newUUID(),
		busyPayer:       "team:" + newUUID(),
		runningInstance: newUUID(),
		started:         now.Add(-2 * time.Hour),
		stopping:        now.Add(-1 * time.Hour),
		stopped:         now.Add(-1 * time.Hour).Add(5 * time.Second),
		now:             now,
		broken:          fmt.Appendf(nil, "{\"id\": %q}\n", newUUID()),
		notImportable:   fmt.Appendf(nil, "{\"unknown\": %q}\n", newUUID()),
		idempotencyKey:  newUUID(),
	}
	s.published = bytes.Join([][]byte{
		cloudEvent("started", s.started, map[string]string{
			"workspaceInstanceId": s.instance,
			"attributionId":       s.payer,
			"workspaceId":         "callall-1",
			"workspaceClass":      "default",
			"userId":              newUUID(),
			"userName":            "callall",
			"startedTime":         s.started.Format(time.RFC3339Nano),
		}),
		cloudEvent("stopping", s.stopping, map[string]string{
			"workspaceInstanceId": s.instance,
			"attributionId":       s.payer,
			"stoppingTime":        s.stopping.Format(time.RFC3339Nano),
		}),
		cloudEvent("stopped", s.stopped, map[string]string{
			"workspaceInstanceId": s.instance,
			"attributionId":       s.payer,
			"stoppedTime":         s.stopped.Format(time.RFC3339Nano),
		}),
		cloudEvent("started", s.started, map[string]string{
			"workspaceInstanceId": s.runningInstance,
			"attributionId":       s.busyPayer,
			"workspaceId":         "callall-2",
			"startedTime":         s.started.Format(time.RFC3339Nano),
		}),
	}, nil)
	return s
}

// cloudEvent writes one event as a line of structured JSON.
func cloudEvent(kind string, at time.Time, message map[string]string) []byte {
	text, err := json.Marshal(map[string]any{
		"specversion":     "1.0",
		"id":              newUUID(),
		"source":          "/usage-ledger/callall",
		"type":            "usage.workspace_instance." + kind + ".v1",
		"subject":         message["workspaceInstanceId"],
		"time":            at.Format(time.RFC3339Nano),
		"datacontenttype": "application/json",
		"data":            message,
	})
	if err != nil {
		// Maps of strings always marshal.
		panic(err)
	}
	return append(text, '\n')
}

// newUUID makes a random (version 4) UUID.
func newUUID() string {
	var b [16]byte
	// Read never fails: the runtime ends the program if the system has no randomness.
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
