// patu-kube: Kubernetes' services on a node without kube-proxy.
#include <cstdio>
#include <exception>

#include "commands.hpp"

int main(int argc, char** argv) {
  try {
    const int status = kube::run(kube::parse_arguments({argv + 1, argv + (argc > 0 ? argc : 1)}));
    if (std::fflush(stdout) == 0) return status;
    std::perror("patu-kube: standard output");
  } catch (const kube::Misuse& why) {
    std::fprintf(stderr, "patu-kube: %s; see patu-kube --help\n", why.what());
    return kube::kMisused;
  } catch (const std::exception& why) {
    std::fprintf(stderr, "patu-kube: %s\n", why.what());
  }
  return kube::kFailed;
}
