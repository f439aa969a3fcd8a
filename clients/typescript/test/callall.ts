/**
 * Calls every method of a running usage-ledger service and prints one line of JSON for each call: its method, its
 * status code, and the response (for a stream, all of them).
 *
 *     npm run build && npm run --silent callall 127.0.0.1:9001
 *     npm run --silent callall -- --tls-ca ca.crt --token-file all.token ledger.example.org:9001
 *
 * It publishes two instances of payers that nobody else has, so it can be run against any service, as often as one
 * likes. It ends with 1 if a call answered another code than a service without Stripe credentials should.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";

import {
  AdminService,
  BillingService,
  connect,
  CostCenter_BillingStrategy,
  ListUsageRequest_Ordering,
  PublishingService,
  QueryService,
  type UsageLedger,
  UsageService,
} from "../src/index.js";
import { Caller } from "./caller.js";
import { newScenario, type Scenario } from "./scenario.js";

// Long enough for a loaded machine; a service that answers at all takes milliseconds.
const OPTIONS: CallOptions = { timeoutMs: 60_000 };

const UNIMPLEMENTED = "UNIMPLEMENTED";

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      "token-file": { type: "string" },
      "tls-ca": { type: "string" },
      cert: { type: "string" },
      key: { type: "string" },
      insecure: { type: "boolean" },
    },
  });
  const [address, ...rest] = positionals;
  if (address === undefined || rest.length > 0) {
    console.error("usage: callall [--token-file FILE] [--tls-ca FILE] [--cert FILE --key FILE] [--insecure] HOST:PORT");
    return 2;
  }
  const wantsTls = values["tls-ca"] !== undefined || values.cert !== undefined;
  if (values["token-file"] !== undefined && !wantsTls && !values.insecure) {
    console.error("callall: the token would be sent in the clear: give --tls-ca, or --insecure");
    return 2;
  }
  const token = values["token-file"] && readFileSync(values["token-file"], "utf8").trim();
  const ledger = connect(`${wantsTls ? "https" : "http"}://${address}`, {
    ...(token && { token }),
    ...(values["tls-ca"] && values["tls-ca"] !== "system" && { ca: readFileSync(values["tls-ca"]) }),
    ...(values.cert && { cert: readFileSync(values.cert) }),
    ...(values.key && { key: readFileSync(values.key) }),
  });
  const caller = new Caller();
  try {
    await callAll(caller, ledger, newScenario(new Date()));
  } finally {
    ledger.close();
  }
  for (const message of caller.unexpected) {
    console.error(`callall: ${message}`);
  }
  return caller.unexpected.length > 0 ? 1 : 0;
}

/** Publishes first, so that the other calls have something to answer. */
async function callAll(caller: Caller, ledger: UsageLedger, scenario: Scenario): Promise<void> {
  const deadLetter = await callPublishing(caller, ledger.publishing, scenario);
  await callUsage(caller, ledger.usage, scenario);
  await callQueries(caller, ledger.queries, scenario, deadLetter);
  await callAdmin(caller, ledger.admin, scenario, deadLetter);
  await callBilling(caller, ledger.billing, scenario);
}

/** Answers the dead letter of the line that was rejected. */
async function callPublishing(
  caller: Caller,
  publishing: UsageLedger["publishing"],
  { payer, published, broken }: Scenario,
): Promise<bigint> {
  async function* requests() {
    yield { delivery: `callall ${payer}`, firstLine: 1n, lines: published };
    yield { lines: broken };
  }
  const responses = await caller.stream(PublishingService.method.publish, publishing.publish(requests(), OPTIONS));
  const reject = responses.flatMap((response) => response.receipt?.rejects ?? [])[0];
  if (reject === undefined) {
    caller.unexpected.push("the broken line was not rejected");
  }
  return reject?.deadLetterId ?? 0n;
}

async function callUsage(caller: Caller, usage: UsageLedger["usage"], scenario: Scenario): Promise<void> {
  const { payer: attributionId, now, stopping, idempotencyKey } = scenario;
  const { method } = UsageService;
  const wantCredits = async (want: number) => {
    const balance = await caller.unary(method.getBalance, () => usage.getBalance({ attributionId }, OPTIONS));
    if (balance?.credits !== want) {
      caller.unexpected.push(`balance: want ${want} credits, got ${balance?.credits}`);
    }
  };

  const period = { from: timestampFromDate(stopping), to: timestampFromDate(now) };
  await caller.unary(method.reconcileUsage, () => usage.reconcileUsage(period, OPTIONS));
  await wantCredits(10);
  const page = { order: ListUsageRequest_Ordering.ASCENDING, pagination: { perPage: 10n, page: 1n } };
  await caller.unary(method.listUsage, () => usage.listUsage({ attributionId, ...page }, OPTIONS));
  await caller.unary(method.getCostCenter, () => usage.getCostCenter({ attributionId }, OPTIONS));
  const billingStrategy = CostCenter_BillingStrategy.OTHER;
  const costCenter = { attributionId, spendingLimit: 100, billingStrategy };
  await caller.unary(method.setCostCenter, () => usage.setCostCenter({ costCenter }, OPTIONS));
  // Twice with one key: the second is a retry and must give nothing more.
  const keyed = { ...OPTIONS, headers: { "idempotency-key": idempotencyKey } };
  const note = { attributionId, credits: 3, description: "Goodwill" };
  await caller.unary(method.addUsageCreditNote, () => usage.addUsageCreditNote(note, keyed));
  await caller.unary(method.addUsageCreditNote, () => usage.addUsageCreditNote(note, keyed));
  await caller.unary(method.resetUsage, () => usage.resetUsage({}, OPTIONS));
  await wantCredits(7);
}

async function callQueries(
  caller: Caller,
  queries: UsageLedger["queries"],
  { payer: attributionId, busyPayer, instance }: Scenario,
  deadLetter: bigint,
): Promise<void> {
  const { method } = QueryService;
  const pageSize = 10;
  const both = { attributionIds: [attributionId, busyPayer] };
  await caller.unary(method.getBalances, () => queries.getBalances(both, OPTIONS));
  await caller.unary(method.listCostCenters, () => queries.listCostCenters({ pageSize }, OPTIONS));
  await caller.unary(method.getInvoiceDraft, () => queries.getInvoiceDraft({ attributionId }, OPTIONS));
  const page = { attributionId, pageSize, ascending: true };
  await caller.unary(method.listEntries, () => queries.listEntries(page, OPTIONS));
  await caller.unary(method.getInstance, () => queries.getInstance({ workspaceInstanceId: instance }, OPTIONS));
  await caller.unary(method.listSuspectInstances, () => queries.listSuspectInstances({ pageSize }, OPTIONS));
  await caller.unary(method.listDeadLetters, () => queries.listDeadLetters({ pageSize }, OPTIONS));
  await caller.unary(method.getDeadLetter, () => queries.getDeadLetter({ id: deadLetter }, OPTIONS));
  await caller.unary(method.getStatus, () => queries.getStatus({}, OPTIONS));
  await caller.stream(method.tailLog, queries.tailLog({ last: 5 }, OPTIONS));
  await caller.unary(method.check, () => queries.check({}, OPTIONS));
  await caller.unary(method.listMeters, () => queries.listMeters({ pageSize }, OPTIONS));
  await caller.unary(method.listAlerts, () => queries.listAlerts({ pageSize }, OPTIONS));
  await caller.unary(method.checkMeters, () => queries.checkMeters({}, OPTIONS));
}

async function callAdmin(
  caller: Caller,
  admin: UsageLedger["admin"],
  { payer, runningInstance, stopping, notImportable }: Scenario,
  deadLetter: bigint,
): Promise<void> {
  const { method } = AdminService;
  const end = { workspaceInstanceId: runningInstance, at: timestampFromDate(stopping), reason: "Ended by callall" };
  await caller.unary(method.endInstance, () => admin.endInstance(end, OPTIONS));
  await caller.unary(method.retryDeadLetters, () => admin.retryDeadLetters({ ids: [deadLetter] }, OPTIONS));
  await caller.unary(method.confirmReset, () => admin.confirmReset({}, OPTIONS));
  // No partition feeds this service.
  const gap = { source: "cluster:usage.events:topic-id:0", lostFrom: 1n, goOnAt: 2n };
  await caller.unary(method.acceptGap, () => admin.acceptGap(gap, OPTIONS), "NOT_FOUND");
  // A line that is rejected shows the way there and back without leaving anything behind.
  async function* requests() {
    yield { source: `callall ${payer}`, firstLine: 1n, lines: notImportable };
  }
  await caller.stream(method.importOpeningState, admin.importOpeningState(requests(), OPTIONS));
}

/** Expects what a service without Stripe credentials answers. */
async function callBilling(
  caller: Caller,
  billing: UsageLedger["billing"],
  { payer: attributionId }: Scenario,
): Promise<void> {
  const { method } = BillingService;
  await caller.unary(method.reconcileInvoices, () => billing.reconcileInvoices({}, OPTIONS));
  await caller.unary(method.cancelSubscription, () => billing.cancelSubscription({}, OPTIONS));
  const invoice = { invoiceId: "in_1" };
  await caller.unary(method.finalizeInvoice, () => billing.finalizeInvoice(invoice, OPTIONS), UNIMPLEMENTED);
  const identifier = { case: "attributionId", value: attributionId } as const;
  await caller.unary(method.getStripeCustomer, () => billing.getStripeCustomer({ identifier }, OPTIONS), UNIMPLEMENTED);
  const customer = { attributionId, name: "Callall", currency: "EUR" };
  await caller.unary(method.createStripeCustomer, () => billing.createStripeCustomer(customer, OPTIONS), UNIMPLEMENTED);
  await caller.unary(
    method.createHoldPaymentIntent,
    () => billing.createHoldPaymentIntent({ attributionId }, OPTIONS),
    UNIMPLEMENTED,
  );
  await caller.unary(
    method.createStripeSubscription,
    () => billing.createStripeSubscription({ attributionId, usageLimit: 100n }, OPTIONS),
    UNIMPLEMENTED,
  );
  await caller.unary(
    method.updateCustomerSubscriptionsTaxState,
    () => billing.updateCustomerSubscriptionsTaxState({ customerId: "cus_1" }, OPTIONS),
    UNIMPLEMENTED,
  );
  await caller.unary(
    method.getPriceInformation,
    () => billing.getPriceInformation({ attributionId }, OPTIONS),
    UNIMPLEMENTED,
  );
  await caller.unary(method.onChargeDispute, () => billing.onChargeDispute({ disputeId: "dp_1" }, OPTIONS), UNIMPLEMENTED);
}

process.exitCode = await main();
