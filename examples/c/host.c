// The hosts' scenario in C: a node with two pods and a service, from nothing and back to nothing.
#include <arpa/inet.h>
#include <patu/patu.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kPods = 2, kSockets = 10 };

static const char *const kPodNames[kPods] = {"web-1", "web-2"};
static const char *const kService = "default/dns";
static const char *const kServiceAddresses[] = {"10.96.0.53:53", "[fd00:96::53]:53"};

// What the process holds; what it makes is in the kernel, and would outlive it.
struct host {
  patu_datapath_options options;
  patu_datapath *datapath;
  patu_network *network;
  patu_service_table *services;
  patu_netns *netns[kPods];
  patu_attachments *attachments;
};

static patu_status open_node(struct host *host, patu_error **err) {
  patu_subnet subnets[] = {PATU_SUBNET_INIT, PATU_SUBNET_INIT};
  patu_network_options options = PATU_NETWORK_OPTIONS_INIT;
  options.bridge = "example0", options.subnets = subnets, options.subnet_count = 2;
  patu_status status = patu_prefix_parse("10.201.0.0/24", &subnets[0].prefix, err);
  if (status == PATU_OK) status = patu_prefix_parse("fd00:201::/64", &subnets[1].prefix, err);
  if (status == PATU_OK) status = patu_datapath_open(&host->options, &host->datapath, err);
  if (status == PATU_OK) status = patu_network_open(host->datapath, &options, &host->network, err);
  if (status == PATU_OK) status = patu_service_table_open(host->datapath, NULL, &host->services, err);
  if (status == PATU_OK) printf("network %s\n", patu_network_bridge(host->network));
  return status;
}

static patu_status print_attachment(const patu_attachment *pod, patu_error **err) {
  printf("pod %s:", pod->id.container_id);
  for (size_t i = 0; i < pod->address_count; ++i) {
    char text[PATU_ADDRESS_TEXT_SIZE];
    const patu_status status = patu_address_format(&pod->addresses[i].address, text, sizeof text, err);
    if (status != PATU_OK) return status;
    printf(" %s/%u", text, pod->addresses[i].prefix_length);
  }
  printf(", mtu %u\n", pod->mtu);
  return PATU_OK;
}

// Both pods in one call: attach makes all of a batch, or none of it.
static patu_status attach_pods(struct host *host, patu_error **err) {
  patu_pod_spec pods[] = {PATU_POD_SPEC_INIT, PATU_POD_SPEC_INIT};
  patu_status status = PATU_OK;
  for (size_t i = 0; status == PATU_OK && i < kPods; ++i) {
    status = patu_netns_create(&host->netns[i], err);
    pods[i].id.container_id = kPodNames[i], pods[i].netns = host->netns[i];
  }
  if (status == PATU_OK) status = patu_network_attach(host->network, pods, kPods, &host->attachments, err);
  for (size_t i = 0; status == PATU_OK && i < kPods; ++i)
    status = print_attachment(patu_attachments_at(host->attachments, i), err);
  return status;
}

static patu_status sync_once(struct host *host, const patu_service *service, patu_error **err) {
  patu_sync_report *report;
  const patu_status status = patu_service_table_sync(host->services, service, 1, 0, &report, err);
  if (status != PATU_OK) return status;
  printf("sync: %zu added, %zu changed, %zu removed, %zu unchanged, %zu refused\n", patu_names_count(report->added),
         patu_names_count(report->changed), patu_names_count(report->removed), report->unchanged,
         patu_refusals_count(report->refused));
  patu_sync_report_free(report);
  return PATU_OK;
}

// The backends are the pods, with every address that they have. The second sync finds nothing to do.
static patu_status write_service(struct host *host, patu_error **err) {
  patu_frontend frontends[2] = {{.protocol = PATU_UDP}, {.protocol = PATU_UDP}};
  patu_backend backends[2 * kPods] = {{.flags = 0}};
  patu_service service = PATU_SERVICE_INIT;
  service.name = kService, service.frontends = frontends, service.frontend_count = 2, service.backends = backends;
  patu_status status = patu_endpoint_parse(kServiceAddresses[0], &frontends[0].endpoint, err);
  if (status == PATU_OK) status = patu_endpoint_parse(kServiceAddresses[1], &frontends[1].endpoint, err);
  for (size_t i = 0; i < patu_attachments_count(host->attachments); ++i) {
    const patu_attachment *pod = patu_attachments_at(host->attachments, i);
    for (size_t j = 0; j < pod->address_count; ++j) {
      patu_endpoint *to = &backends[service.backend_count++].endpoint;
      to->address = pod->addresses[j].address, to->port = 53;
    }
  }
  if (status == PATU_OK) status = sync_once(host, &service, err);
  if (status == PATU_OK) status = sync_once(host, &service, err);
  return status;
}

static patu_status explain(struct host *host, const char *to, patu_error **err) {
  static const char *const kVerdicts[] = {"untouched", "translated", "refused"};
  patu_endpoint endpoint;
  patu_explanation *explanation;
  patu_status status = patu_endpoint_parse(to, &endpoint, err);
  if (status == PATU_OK)
    status = patu_service_table_explain(host->services, &endpoint, PATU_UDP, NULL, &explanation, err);
  if (status != PATU_OK) return status;
  printf("udp %s: %s", to, kVerdicts[explanation->verdict]);
  for (size_t i = 0; status == PATU_OK && i < explanation->candidate_count; ++i) {
    char text[PATU_ENDPOINT_TEXT_SIZE] = "";
    status = patu_endpoint_format(&explanation->candidates[i].endpoint, text, sizeof text, err);
    printf(" %s", text);
  }
  printf("\n");
  patu_explanation_free(explanation);
  return status;
}

// Connects as any program does; the service's statistics tell that its sockets were given backends.
static patu_status use_service(struct host *host, patu_error **err) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  inet_pton(AF_INET, "10.96.0.53", &to.sin_addr);
  for (int i = 0; i < kSockets; ++i) {
    const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (connect(socket_fd, (struct sockaddr *)&to, sizeof to) != 0) perror("connect");
    close(socket_fd);
  }
  patu_stats *stats;
  const patu_status status = patu_service_table_stats(host->services, &stats, err);
  if (status != PATU_OK) return status;
  for (size_t i = 0; i < patu_stats_count(stats); ++i) {
    const patu_service_stats *of = patu_stats_at(stats, i);
    printf("%s: %llu connects, %llu refused\n", of->name, (unsigned long long)of->connects,
           (unsigned long long)of->refused);
  }
  patu_stats_free(stats);
  return PATU_OK;
}

// A failure is a number to branch on, and a text for people.
static void remove_too_early(struct host *host) {
  patu_error *err = NULL;
  const patu_status status = patu_network_remove(host->network, &err);
  printf("%s: %s\n", patu_status_name(status), patu_error_text(err));
  patu_error_free(err);
}

static patu_status remove_all(struct host *host, patu_error **err) {
  const patu_attachment_id ids[] = {{.container_id = kPodNames[0]}, {.container_id = kPodNames[1]}};
  patu_status status = patu_service_table_remove(host->services, kService, err);
  if (status == PATU_OK) status = patu_network_detach(host->network, ids, kPods, err);
  if (status == PATU_OK) status = patu_network_remove(host->network, err);
  if (status == PATU_OK) status = patu_datapath_unload(&host->options, 0, NULL, err);
  if (status == PATU_OK) printf("removed\n");
  return status;
}

static patu_status run(struct host *host, patu_error **err) {
  patu_status status = open_node(host, err);
  if (status == PATU_OK) status = attach_pods(host, err);
  if (status == PATU_OK) status = write_service(host, err);
  if (status == PATU_OK) status = explain(host, kServiceAddresses[0], err);
  if (status == PATU_OK) status = explain(host, kServiceAddresses[1], err);
  if (status == PATU_OK) status = explain(host, "10.96.0.53:54", err);
  if (status == PATU_OK) status = use_service(host, err);
  if (status != PATU_OK) return status;
  remove_too_early(host);
  return remove_all(host, err);
}

// Ends the handles alone.
static void close_all(struct host *host) {
  patu_attachments_free(host->attachments);
  for (size_t i = 0; i < kPods; ++i) patu_netns_close(host->netns[i]);
  patu_service_table_close(host->services);
  patu_network_close(host->network);
  patu_datapath_close(host->datapath);
}

int main(int argc, char **argv) {
  struct host host = {.options = PATU_DATAPATH_OPTIONS_INIT};
  host.options.instance = "example";
  for (int i = 1; i < argc; i += 2) {
    const char **value = NULL;
    if (strcmp(argv[i], "--bpffs") == 0) value = &host.options.bpffs;
    if (strcmp(argv[i], "--cgroup") == 0) value = &host.options.cgroup;
    if (value == NULL || i + 1 == argc) {
      fprintf(stderr, "usage: host [--bpffs DIR] [--cgroup DIR]\n");
      return 2;
    }
    *value = argv[i + 1];
  }
  patu_error *err = NULL;
  const patu_status status = run(&host, &err);
  if (status != PATU_OK) fprintf(stderr, "%s: %s\n", patu_status_name(status), patu_error_text(err));
  patu_error_free(err);
  close_all(&host);
  return status == PATU_OK ? 0 : 1;
}
