package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/usage-ledger/usage-ledger/clients/go/usage/v1"
	ledgerv1 "github.com/usage-ledger/usage-ledger/clients/go/usage_ledger/v1"
)

// callAll publishes first, so that the other calls have something to answer.
func callAll(c *caller, connection grpc.ClientConnInterface, s *scenario) {
	deadLetter := callPublishing(c, ledgerv1.NewPublishingServiceClient(connection), s)
	callUsage(c, usagev1.NewUsageServiceClient(connection), s)
	callQueries(c, ledgerv1.NewQueryServiceClient(connection), s, deadLetter)
	callAdmin(c, ledgerv1.NewAdminServiceClient(connection), s, deadLetter)
	callBilling(c, usagev1.NewBillingServiceClient(connection), s)
}

// callPublishing answers the dead letter of the line that was rejected.
func callPublishing(c *caller, client ledgerv1.PublishingServiceClient, s *scenario) int64 {
	stream, err := client.Publish(c.ctx)
	responses := exchange(c, ledgerv1.PublishingService_Publish_FullMethodName, stream, err,
		&ledgerv1.PublishRequest{Delivery: "callall " + s.payer, FirstLine: 1, Lines: s.published},
		&ledgerv1.PublishRequest{Lines: s.broken},
	)
	for _, response := range responses {
		for _, reject := range response.GetReceipt().GetRejects() {
			return reject.GetDeadLetterId()
		}
	}
	c.unexpected = append(c.unexpected, errors.New("the broken line was not rejected"))
	return 0
}

func callUsage(c *caller, client usagev1.UsageServiceClient, s *scenario) {
	unary(c, usagev1.UsageService_ReconcileUsage_FullMethodName, codes.OK, client.ReconcileUsage,
		&usagev1.ReconcileUsageRequest{
			From: timestamppb.New(s.now.Add(-time.Hour)),
			To:   timestamppb.New(s.now),
		})
	c.wantCredits(client, s.payer, 10)
	unary(c, usagev1.UsageService_ListUsage_FullMethodName, codes.OK, client.ListUsage,
		&usagev1.ListUsageRequest{
			AttributionId: s.payer,
			Order:         usagev1.ListUsageRequest_ORDERING_ASCENDING,
			Pagination:    &usagev1.PaginatedRequest{PerPage: 10, Page: 1},
		})
	unary(c, usagev1.UsageService_GetCostCenter_FullMethodName, codes.OK, client.GetCostCenter,
		&usagev1.GetCostCenterRequest{AttributionId: s.payer})
	unary(c, usagev1.UsageService_SetCostCenter_FullMethodName, codes.OK, client.SetCostCenter,
		&usagev1.SetCostCenterRequest{CostCenter: &usagev1.CostCenter{
			AttributionId:   s.payer,
			SpendingLimit:   100,
			BillingStrategy: usagev1.CostCenter_BILLING_STRATEGY_OTHER,
		}})
	// Twice with one key: the second is a retry and must give nothing more.
	plain := c.ctx
	c.ctx = metadata.AppendToOutgoingContext(plain, "idempotency-key", s.idempotencyKey)
	for range 2 {
		unary(c, usagev1.UsageService_AddUsageCreditNote_FullMethodName, codes.OK, client.AddUsageCreditNote,
			&usagev1.AddUsageCreditNoteRequest{AttributionId: s.payer, Credits: 3, Description: "Goodwill"})
	}
	c.ctx = plain
	unary(c, usagev1.UsageService_ResetUsage_FullMethodName, codes.OK, client.ResetUsage, &usagev1.ResetUsageRequest{})
	c.wantCredits(client, s.payer, 7)
}

func (c *caller) wantCredits(client usagev1.UsageServiceClient, payer string, want float64) {
	balance := unary(c, usagev1.UsageService_GetBalance_FullMethodName, codes.OK, client.GetBalance,
		&usagev1.GetBalanceRequest{AttributionId: payer})
	if balance.GetCredits() != want {
		c.unexpected = append(c.unexpected, fmt.Errorf("balance: want %v credits, got %v", want, balance.GetCredits()))
	}
}

func callQueries(c *caller, client ledgerv1.QueryServiceClient, s *scenario, deadLetter int64) {
	unary(c, ledgerv1.QueryService_GetBalances_FullMethodName, codes.OK, client.GetBalances,
		&ledgerv1.GetBalancesRequest{AttributionIds: []string{s.payer, s.busyPayer}})
	unary(c, ledgerv1.QueryService_ListCostCenters_FullMethodName, codes.OK, client.ListCostCenters,
		&ledgerv1.ListCostCentersRequest{PageSize: 10})
	unary(c, ledgerv1.QueryService_GetInvoiceDraft_FullMethodName, codes.OK, client.GetInvoiceDraft,
		&ledgerv1.GetInvoiceDraftRequest{AttributionId: s.payer})
	unary(c, ledgerv1.QueryService_ListEntries_FullMethodName, codes.OK, client.ListEntries,
		&ledgerv1.ListEntriesRequest{AttributionId: s.payer, PageSize: 10, Ascending: true})
	unary(c, ledgerv1.QueryService_GetInstance_FullMethodName, codes.OK, client.GetInstance,
		&ledgerv1.GetInstanceRequest{WorkspaceInstanceId: s.instance})
	unary(c, ledgerv1.QueryService_ListSuspectInstances_FullMethodName, codes.OK, client.ListSuspectInstances,
		&ledgerv1.ListSuspectInstancesRequest{PageSize: 10})
	unary(c, ledgerv1.QueryService_ListDeadLetters_FullMethodName, codes.OK, client.ListDeadLetters,
		&ledgerv1.ListDeadLettersRequest{PageSize: 10})
	unary(c, ledgerv1.QueryService_GetDeadLetter_FullMethodName, codes.OK, client.GetDeadLetter,
		&ledgerv1.GetDeadLetterRequest{Id: deadLetter})
	unary(c, ledgerv1.QueryService_GetStatus_FullMethodName, codes.OK, client.GetStatus, &ledgerv1.GetStatusRequest{})
	tail, err := client.TailLog(c.ctx, &ledgerv1.TailLogRequest{Last: 5})
	drain[ledgerv1.TailLogResponse](c, ledgerv1.QueryService_TailLog_FullMethodName, tail, err)
	unary(c, ledgerv1.QueryService_Check_FullMethodName, codes.OK, client.Check, &ledgerv1.CheckRequest{})
	unary(c, ledgerv1.QueryService_ListMeters_FullMethodName, codes.OK, client.ListMeters,
		&ledgerv1.ListMetersRequest{PageSize: 10})
	unary(c, ledgerv1.QueryService_ListAlerts_FullMethodName, codes.OK, client.ListAlerts,
		&ledgerv1.ListAlertsRequest{PageSize: 10})
	unary(c, ledgerv1.QueryService_CheckMeters_FullMethodName, codes.OK, client.CheckMeters,
		&ledgerv1.CheckMetersRequest{})
}

func callAdmin(c *caller, client ledgerv1.AdminServiceClient, s *scenario, deadLetter int64) {
	unary(c, ledgerv1.AdminService_EndInstance_FullMethodName, codes.OK, client.EndInstance,
		&ledgerv1.EndInstanceRequest{
			WorkspaceInstanceId: s.runningInstance,
			At:                  timestamppb.New(s.stopping),
			Reason:              "Ended by callall",
		})
	unary(c, ledgerv1.AdminService_RetryDeadLetters_FullMethodName, codes.OK, client.RetryDeadLetters,
		&ledgerv1.RetryDeadLettersRequest{Ids: []int64{deadLetter}})
	unary(c, ledgerv1.AdminService_ConfirmReset_FullMethodName, codes.OK, client.ConfirmReset,
		&ledgerv1.ConfirmResetRequest{})
	// No partition feeds this service.
	unary(c, ledgerv1.AdminService_AcceptGap_FullMethodName, codes.NotFound, client.AcceptGap,
		&ledgerv1.AcceptGapRequest{Source: "cluster:usage.events:topic-id:0", LostFrom: 1, GoOnAt: 2})
	stream, err := client.ImportOpeningState(c.ctx)
	// A line that is rejected shows the way there and back without leaving anything behind.
	exchange(c, ledgerv1.AdminService_ImportOpeningState_FullMethodName, stream, err,
		&ledgerv1.ImportOpeningStateRequest{Source: "callall " + s.payer, FirstLine: 1, Lines: s.notImportable})
}

// callBilling expects what a service without Stripe credentials answers.
func callBilling(c *caller, client usagev1.BillingServiceClient, s *scenario) {
	unary(c, usagev1.BillingService_ReconcileInvoices_FullMethodName, codes.OK, client.ReconcileInvoices,
		&usagev1.ReconcileInvoicesRequest{})
	unary(c, usagev1.BillingService_CancelSubscription_FullMethodName, codes.OK, client.CancelSubscription,
		&usagev1.CancelSubscriptionRequest{})
	unconfigured(c, usagev1.BillingService_FinalizeInvoice_FullMethodName, client.FinalizeInvoice,
		&usagev1.FinalizeInvoiceRequest{InvoiceId: "in_1"})
	unconfigured(c, usagev1.BillingService_GetStripeCustomer_FullMethodName, client.GetStripeCustomer,
		&usagev1.GetStripeCustomerRequest{
			Identifier: &usagev1.GetStripeCustomerRequest_AttributionId{AttributionId: s.payer},
		})
	unconfigured(c, usagev1.BillingService_CreateStripeCustomer_FullMethodName, client.CreateStripeCustomer,
		&usagev1.CreateStripeCustomerRequest{AttributionId: s.payer, Name: "Callall", Currency: "EUR"})
	unconfigured(c, usagev1.BillingService_CreateHoldPaymentIntent_FullMethodName, client.CreateHoldPaymentIntent,
		&usagev1.CreateHoldPaymentIntentRequest{AttributionId: s.payer})
	unconfigured(c, usagev1.BillingService_CreateStripeSubscription_FullMethodName, client.CreateStripeSubscription,
		&usagev1.CreateStripeSubscriptionRequest{AttributionId: s.payer, UsageLimit: 100})
	unconfigured(c, usagev1.BillingService_UpdateCustomerSubscriptionsTaxState_FullMethodName,
		client.UpdateCustomerSubscriptionsTaxState,
		&usagev1.UpdateCustomerSubscriptionsTaxStateRequest{CustomerId: "cus_1"})
	unconfigured(c, usagev1.BillingService_GetPriceInformation_FullMethodName, client.GetPriceInformation,
		&usagev1.GetPriceInformationRequest{AttributionId: s.payer})
	unconfigured(c, usagev1.BillingService_OnChargeDispute_FullMethodName, client.OnChargeDispute,
		&usagev1.OnChargeDisputeRequest{DisputeId: "dp_1"})
}

func unconfigured[Request, Response any](
	c *caller,
	method string,
	rpc func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
) {
	unary(c, method, codes.Unimplemented, rpc, request)
}
