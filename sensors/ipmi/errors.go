package ipmi

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/leastwatt/leastwatt/sensors"
)

// errBadAnswer says that the BMC sent bytes that are no IPMI, or IPMI that contradicts itself.
var errBadAnswer = errors.New("bad answer")

// classify wraps what the library and the socket say in what callers act on.
func classify(err error) error {
	for _, known := range []error{sensors.ErrUnauthorized, sensors.ErrThrottled, sensors.ErrUnreachable, sensors.ErrDevice,
		sensors.ErrMalformed, sensors.ErrNoReading, sensors.ErrImplausible} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", reason(err), err)
}

func reason(err error) error {
	if s, ok := errors.AsType[*types.RmcpStatusError](err); ok {
		switch s.StatusCode() {
		case types.RmcpStatusCodeNoResToCreateSess, types.RmcpStatusCodeNoResToCreateSessAtRole:
			return sensors.ErrThrottled // all sessions in use
		case types.RmcpStatusCodeInvalidRole, types.RmcpStatusCodeUnauthorizedRoleOfPriLevel, types.RmcpStatusCodeInvalidNameLength,
			types.RmcpStatusCodeUnauthorizedName, types.RmcpStatusCodeInvalidIntegrityCheckValue:
			return sensors.ErrUnauthorized
		}
		return sensors.ErrDevice
	}
	if errors.Is(err, client.ErrRAKPAuthentication) {
		return sensors.ErrUnauthorized
	}
	if r, ok := errors.AsType[*types.ResponseError](err); ok {
		switch r.CompletionCode() {
		case types.CodeInsufficientPrivilege:
			return sensors.ErrUnauthorized
		case types.CodeNodeBusy, types.CodeProcessTimeout, types.CodeOutOfSpace, types.CodeCannotProvideResponseSDRRInUpdate,
			types.CodeCannotProvideResponseFirmwareUpdate, types.CodeCannotProvideResponseBMCInitialize:
			return sensors.ErrThrottled
		case types.CodeOK: // the library's way to say that the data were too short
			return sensors.ErrMalformed
		case types.CodeUnspecifiedError, types.CodeCannotProvideResponse, types.CodeDestinationUnavailable:
			return sensors.ErrDevice
		}
		return sensors.ErrNoReading // no such sensor, no such command
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, errSilent) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return sensors.ErrUnreachable
	}
	return sensors.ErrMalformed
}

// isCompletion reports whether a BMC answered, with whatever completion code.
func isCompletion(err error) bool {
	_, ok := errors.AsType[*types.ResponseError](err)
	return ok
}

// completed reports whether a BMC answered with one of the codes.
func completed(err error, codes ...types.CompletionCode) bool {
	r, ok := errors.AsType[*types.ResponseError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if r.CompletionCode() == c {
			return true
		}
	}
	return false
}
