/** Client of usage-ledger. {@link connect} gives one client per service; messages and enums are exported beside it. */
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { BillingService } from "./gen/usage/v1/billing_pb.js";
import { UsageService } from "./gen/usage/v1/usage_pb.js";
import { AdminService } from "./gen/usage_ledger/v1/admin_pb.js";
import { PublishingService } from "./gen/usage_ledger/v1/publishing_pb.js";
import { QueryService } from "./gen/usage_ledger/v1/queries_pb.js";

export * from "./gen/usage/events/v1/events_pb.js";
export * from "./gen/usage/v1/billing_pb.js";
export * from "./gen/usage/v1/usage_pb.js";
export * from "./gen/usage_ledger/v1/admin_pb.js";
export * from "./gen/usage_ledger/v1/live_views_pb.js";
export * from "./gen/usage_ledger/v1/publishing_pb.js";
export * from "./gen/usage_ledger/v1/queries_pb.js";

/** The services of one ledger, over one shared HTTP/2 connection. */
export interface UsageLedger {
  readonly usage: Client<typeof UsageService>;
  readonly billing: Client<typeof BillingService>;
  readonly publishing: Client<typeof PublishingService>;
  readonly queries: Client<typeof QueryService>;
  readonly admin: Client<typeof AdminService>;
  /** Drops the connection; without it an idle one keeps the process alive for a while. */
  close(): void;
}

/**
 * Prepares the clients of a service; connects with the first call.
 *
 * @param baseUrl scheme, host and port: `http://127.0.0.1:9001` speaks gRPC in plain text, `https://…` over TLS
 */
export function connect(baseUrl: string): UsageLedger {
  const sessionManager = new Http2SessionManager(baseUrl);
  const transport = createGrpcTransport({ baseUrl, sessionManager });
  return {
    usage: createClient(UsageService, transport),
    billing: createClient(BillingService, transport),
    publishing: createClient(PublishingService, transport),
    queries: createClient(QueryService, transport),
    admin: createClient(AdminService, transport),
    close: () => sessionManager.abort(),
  };
}
