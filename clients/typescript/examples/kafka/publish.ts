/**
 * Publishes the events of one workspace instance, and a credit note, to Kafka.
 *
 *     npm run --silent publish-events localhost:9092 usage.events
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  CreditNoteIssuedSchema,
  WorkspaceInstanceStartedSchema,
  WorkspaceInstanceStoppedSchema,
} from "@usage-ledger/client";
import { CloudEvent, Kafka as KafkaBinding } from "cloudevents";
import { type IHeaders, Kafka, logLevel, type Producer } from "kafkajs";

const source = "/workspace-manager/eu01";
const payer = "team:0b1f6f6e-6d0c-4a52-9d2b-0d1c6f1f8a11";
const instance = "0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42";

const [servers, topic] = process.argv.slice(2);
if (servers === undefined || topic === undefined) {
  throw new Error("usage: publish SERVERS TOPIC");
}
const started = new Date("2026-11-01T08:00:00Z");
const stopped = new Date("2026-11-01T09:30:00Z");

const startedData = create(WorkspaceInstanceStartedSchema, {
  workspaceInstanceId: instance,
  attributionId: payer,
  workspaceId: "demo-1",
  workspaceClass: "g1-large",
  startedTime: timestampFromDate(started),
});
const stoppedData = create(WorkspaceInstanceStoppedSchema, {
  workspaceInstanceId: instance,
  attributionId: payer,
  stoppedTime: timestampFromDate(stopped),
});
const noteData = create(CreditNoteIssuedSchema, {
  attributionId: payer,
  credits: 5,
  description: "Sorry for the outage",
});
// IDs that say what happened: whoever publishes an event again, it counts once.
const events = [
  {
    id: `${instance}/started`,
    type: "usage.workspace_instance.started.v1",
    time: started,
    data: toBinary(WorkspaceInstanceStartedSchema, startedData),
  },
  {
    id: `${instance}/stopped`,
    type: "usage.workspace_instance.stopped.v1",
    time: stopped,
    data: toBinary(WorkspaceInstanceStoppedSchema, stoppedData),
  },
  {
    id: "ticket-4711",
    type: "usage.credit_note.issued.v1",
    time: stopped,
    data: toBinary(CreditNoteIssuedSchema, noteData),
  },
];

const kafka = new Kafka({ brokers: servers.split(","), logLevel: logLevel.ERROR });
// Each message is in the topic once and in its order, however often it is sent again on the way.
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: { retries: 20 } });
await producer.connect();
try {
  for (const event of events) {
    await publish(producer, topic, event);
    console.log(event.id);
  }
} finally {
  await producer.disconnect();
}

/**
 * Resolves when the broker has acknowledged the event. After an error it may be there or not:
 * publish it again under the same ID.
 */
async function publish(producer: Producer, topic: string, one: (typeof events)[number]): Promise<void> {
  const event = new CloudEvent({
    id: one.id,
    source,
    type: one.type,
    time: one.time.toISOString(),
    datacontenttype: "application/protobuf",
    data: Buffer.from(one.data),
  });
  const { headers: attributes, value } = KafkaBinding.binary(event);
  // The SDK also names the attributes that are not there; kafkajs cannot send those.
  const headers = Object.fromEntries(Object.entries(attributes).filter(([, text]) => text !== undefined));
  // The key is the attribution ID in lower case, so that all of a payer is in one partition.
  const message = { key: payer, value: value as Buffer, headers: headers as IHeaders };
  await producer.send({ topic, acks: -1, messages: [message] });
}
