// Services: what connect(2) resolves, and what it would do.

package patu

// #include <patu/patu.h>
import "C"

import (
	"net/netip"
	"unsafe"
)

// Transport is a protocol by IANA's number.
type Transport uint8

// What a Frontend may be reached by.
const (
	TCP Transport = C.PATU_TCP
	UDP Transport = C.PATU_UDP
)

// Frontend is where clients connect to.
type Frontend struct {
	Transport Transport
	Endpoint  netip.AddrPort
}

// Service is a name, and which backends clients of its frontends meet.
type Service struct {
	Name      string
	Frontends []Frontend
	Backends  []netip.AddrPort
}

// SyncReport has the names of services, sorted.
type SyncReport struct {
	Added, Changed, Removed []string
	Unchanged               int
	Refused                 []Refusal
}

// Refusal is a service that Sync could not take; it is as it was.
type Refusal struct {
	Name, Reason string
	Code         Code
}

// Stats count since the service was made.
type Stats struct {
	Name              string
	Connects, Refused uint64
}

// Explanation is what the kernel would do: the verdict is "untouched", "translated" or "refused".
type Explanation struct {
	Verdict, Why string
	Candidates   []netip.AddrPort
}

// Services is the service table of a data path.
type Services struct{ pointer *C.patu_service_table }

// OpenServices writes nothing.
func (datapath *Datapath) OpenServices() (*Services, error) {
	var services Services
	var failure *C.patu_error
	status := C.patu_service_table_open(datapath.pointer, nil, &services.pointer, &failure)
	return opened(&services, status, failure)
}

// Close ends the handle.
func (services *Services) Close() error {
	C.patu_service_table_close(services.pointer)
	services.pointer = nil
	return nil
}

func (service Service) lend(l *lent, out *C.patu_service) {
	frontends := array[C.patu_frontend](l, len(service.Frontends))
	for i, frontend := range service.Frontends {
		frontends[i].endpoint = toEndpoint(frontend.Endpoint)
		frontends[i].protocol = C.uint8_t(frontend.Transport)
	}
	backends := array[C.patu_backend](l, len(service.Backends))
	for i, backend := range service.Backends {
		backends[i].endpoint = toEndpoint(backend)
	}
	out.struct_size = C.sizeof_patu_service
	out.name = l.text(service.Name)
	out.frontends, out.frontend_count = first(frontends), C.size_t(len(frontends))
	out.backends, out.backend_count = first(backends), C.size_t(len(backends))
}

// Sync makes the table be exactly this. An empty one is refused, as it is mostly a mistake.
func (services *Services) Sync(wanted ...Service) (*SyncReport, error) {
	var report *C.patu_sync_report
	var failure *C.patu_error
	var l lent
	defer l.free()
	lentServices := array[C.patu_service](&l, len(wanted))
	for i, service := range wanted {
		service.lend(&l, &lentServices[i])
	}
	if l.err != nil {
		return nil, l.err
	}
	status := C.patu_service_table_sync(services.pointer, first(lentServices), C.size_t(len(wanted)), 0, &report, &failure)
	if err := check(status, failure); err != nil {
		return nil, err
	}
	defer C.patu_sync_report_free(report)
	out := &SyncReport{Added: names(report.added), Changed: names(report.changed), Removed: names(report.removed),
		Unchanged: int(report.unchanged)}
	for i := C.size_t(0); i < C.patu_refusals_count(report.refused); i++ {
		refusal := C.patu_refusals_at(report.refused, i)
		out.Refused = append(out.Refused, Refusal{C.GoString(refusal.name), C.GoString(refusal.reason), Code(refusal.code)})
	}
	return out, nil
}

// Remove is a success where there is no service of that name.
func (services *Services) Remove(name string) error {
	var failure *C.patu_error
	var l lent
	defer l.free()
	text := l.text(name)
	if l.err != nil {
		return l.err
	}
	status := C.patu_service_table_remove(services.pointer, text, &failure)
	return check(status, failure)
}

// Stats are those of all services, sorted by name.
func (services *Services) Stats() ([]Stats, error) {
	var stats *C.patu_stats
	var failure *C.patu_error
	status := C.patu_service_table_stats(services.pointer, &stats, &failure)
	if err := check(status, failure); err != nil {
		return nil, err
	}
	defer C.patu_stats_free(stats)
	var out []Stats
	for i := C.size_t(0); i < C.patu_stats_count(stats); i++ {
		of := C.patu_stats_at(stats, i)
		out = append(out, Stats{C.GoString(of.name), uint64(of.connects), uint64(of.refused)})
	}
	return out, nil
}

// Explain tells what the kernel would do with a socket that connects there.
func (services *Services) Explain(transport Transport, to netip.AddrPort) (*Explanation, error) {
	var explanation *C.patu_explanation
	var failure *C.patu_error
	endpoint := toEndpoint(to)
	status := C.patu_service_table_explain(services.pointer, &endpoint, C.uint32_t(transport), nil, &explanation, &failure)
	if err := check(status, failure); err != nil {
		return nil, err
	}
	defer C.patu_explanation_free(explanation)
	verdicts := [...]string{C.PATU_VERDICT_UNTOUCHED: "untouched", C.PATU_VERDICT_TRANSLATED: "translated",
		C.PATU_VERDICT_REFUSED: "refused"}
	out := &Explanation{Verdict: verdicts[explanation.verdict], Why: C.GoString(explanation.why)}
	for _, candidate := range unsafe.Slice(explanation.candidates, int(explanation.candidate_count)) {
		out.Candidates = append(out.Candidates, fromEndpoint(candidate.endpoint))
	}
	return out, nil
}
