import { randomUUID } from "node:crypto";

const HOUR_MS = 3_600_000;

/** What the calls are about: one payer whose instance ran for an hour (10 credits at the default price), one whose instance still runs. */
export interface Scenario {
  readonly payer: string;
  readonly instance: string;
  readonly busyPayer: string;
  readonly runningInstance: string;
  readonly now: Date;
  readonly stopping: Date;
  /** Four good events. */
  readonly published: Uint8Array;
  /** An event that lacks nearly everything; another one in each run, for the same bytes rejected again only count as repeated. */
  readonly broken: Uint8Array;
  /** A line that no import understands. */
  readonly notImportable: Uint8Array;
  readonly idempotencyKey: string;
}

export function newScenario(now: Date): Scenario {
  const payer = `team:${randomUUID()}`;
  const instance = randomUUID();
  const busyPayer = `team:${randomUUID()}`;
  const runningInstance = randomUUID();
  const started = new Date(now.getTime() - 2 * HOUR_MS);
  const stopping = new Date(now.getTime() - HOUR_MS);
  const stopped = new Date(stopping.getTime() + 5_000);
  const lines = [
    cloudEvent("started", started, {
      workspaceInstanceId: instance,
      attributionId: payer,
      workspaceId: "callall-1",
      workspaceClass: "default",
      userId: randomUUID(),
      userName: "callall",
      startedTime: started.toISOString(),
    }),
    cloudEvent("stopping", stopping, {
      workspaceInstanceId: instance,
      attributionId: payer,
      stoppingTime: stopping.toISOString(),
    }),
    cloudEvent("stopped", stopped, {
      workspaceInstanceId: instance,
      attributionId: payer,
      stoppedTime: stopped.toISOString(),
    }),
    cloudEvent("started", started, {
      workspaceInstanceId: runningInstance,
      attributionId: busyPayer,
      workspaceId: "callall-2",
      startedTime: started.toISOString(),
    }),
  ];
  return {
    payer,
    instance,
    busyPayer,
    runningInstance,
    now,
    stopping,
    published: new TextEncoder().encode(lines.join("")),
    broken: new TextEncoder().encode(`{"id": "${randomUUID()}"}\n`),
    notImportable: new TextEncoder().encode(`{"unknown": "${randomUUID()}"}\n`),
    idempotencyKey: randomUUID(),
  };
}

/** One event as a line of structured JSON. */
function cloudEvent(kind: string, at: Date, message: Record<string, string>): string {
  const event = {
    specversion: "1.0",
    id: randomUUID(),
    source: "/usage-ledger/callall",
    type: `usage.workspace_instance.${kind}.v1`,
    subject: message.workspaceInstanceId,
    time: at.toISOString(),
    datacontenttype: "application/json",
    data: message,
  };
  return `${JSON.stringify(event)}\n`;
}
