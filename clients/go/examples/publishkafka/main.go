// Publishes the events of one workspace instance, and a credit note, to Kafka.
//
//	go run ./publishkafka localhost:9092 usage.events
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "github.com/usage-ledger/usage-ledger/clients/go/usage/events/v1"
)

const (
	source   = "/workspace-manager/eu01"
	payer    = "team:0b1f6f6e-6d0c-4a52-9d2b-0d1c6f1f8a11"
	instance = "0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: publishkafka SERVERS TOPIC")
	}
	if err := run(strings.Split(os.Args[1], ","), os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(servers []string, topic string) error {
	sender, err := kafka_sarama.NewSender(servers, producerConfig(), topic)
	if err != nil {
		return fmt.Errorf("connecting to %v: %w", servers, err)
	}
	defer sender.Close(context.Background())
	client, err := cloudevents.NewClient(sender)
	if err != nil {
		return err
	}

	started := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	stopped := started.Add(90 * time.Minute)
	events := []struct {
		id, kind string
		time     time.Time
		data     proto.Message
	}{
		// An ID that says what happened: whoever publishes it again, it counts once.
		{instance + "/started", "usage.workspace_instance.started.v1", started,
			&eventsv1.WorkspaceInstanceStarted{
				WorkspaceInstanceId: instance,
				AttributionId:       payer,
				WorkspaceId:         "demo-1",
				WorkspaceClass:      "g1-large",
				StartedTime:         timestamppb.New(started),
			}},
		{instance + "/stopped", "usage.workspace_instance.stopped.v1", stopped,
			&eventsv1.WorkspaceInstanceStopped{
				WorkspaceInstanceId: instance,
				AttributionId:       payer,
				StoppedTime:         timestamppb.New(stopped),
			}},
		{"ticket-4711", "usage.credit_note.issued.v1", stopped,
			&eventsv1.CreditNoteIssued{
				AttributionId: payer,
				Credits:       5,
				Description:   "Sorry for the outage",
			}},
	}
	for _, one := range events {
		if err := publish(client, one.id, one.kind, one.time, one.data); err != nil {
			return err
		}
		fmt.Println(one.id)
	}
	return nil
}

// Each message is in the topic once and in its order, however often it is sent again on the way.
func producerConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 20
	config.Producer.Retry.Backoff = 500 * time.Millisecond
	config.Net.MaxOpenRequests = 1
	return config
}

// Returns when the broker has acknowledged the event. After an error it may be there or not:
// publish it again under the same ID.
func publish(client cloudevents.Client, id, kind string, at time.Time, data proto.Message) error {
	encoded, err := proto.Marshal(data)
	if err != nil {
		return err
	}
	event := cloudevents.NewEvent()
	event.SetID(id)
	event.SetSource(source)
	event.SetType(kind)
	event.SetTime(at)
	if err := event.SetData("application/protobuf", encoded); err != nil {
		return err
	}
	// The key is the attribution ID in lower case, so that all of a payer is in one partition.
	ctx := kafka_sarama.WithMessageKey(context.Background(), sarama.StringEncoder(payer))
	if result := client.Send(ctx, event); cloudevents.IsUndelivered(result) {
		return fmt.Errorf("publishing %s: %w", id, result)
	}
	return nil
}
