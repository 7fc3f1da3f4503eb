// Starting and ending the daemons of a cluster.
#include "tests/cluster/cluster.h"

#include <gtest/gtest.h>

#include <csignal>
#include <exception>
#include <fstream>
#include <iterator>
#include <limits>

#include "tests/support/http_client.h"

namespace weft::testing {
namespace {

using Clock = std::chrono::steady_clock;

// As the kernel tells it: 'T' is stopped.
char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(") ");
  return name_end == std::string::npos ? '?' : text[name_end + 2];
}

}  // namespace

bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds patience) {
  const auto until = Clock::now() + patience;
  while (!holds()) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

double metric(const std::string& page, const std::string& name) {
  const size_t at = page.find("\n" + name + " ");
  if (at != std::string::npos) return std::stod(page.substr(at + name.size() + 2));
  const bool labelled = name.find('{') != std::string::npos;
  return page.empty() || !labelled ? std::numeric_limits<double>::quiet_NaN() : 0;
}

Node::Node(std::string store, std::string role, std::vector<std::string> arguments)
    : store_(std::move(store)), role_(std::move(role)), arguments_(std::move(arguments)) {}

void Node::start() {
  DaemonOptions options{.store = store_, .listen = address_, .arguments = {"--role", role_}};
  options.arguments.insert(options.arguments.end(), arguments_.begin(), arguments_.end());
  options.program = WEFT_BIN_DIR "/trouble_worker";  // a weftd with some more handlers
  daemon_ = std::make_unique<Daemon>(options);
  address_ = daemon_->address();
}

void Node::kill() {
  daemon_->process().kill();
  daemon_.reset();
}

int Node::stop() {
  daemon_->process().signal(SIGTERM);
  const int exit_code = daemon_->process().wait().exit_code;
  daemon_.reset();
  return exit_code;
}

void Node::pause() {
  daemon_->process().signal(SIGSTOP);
  EXPECT_TRUE(eventually([this] { return state_of(pid()) == 'T'; }));
}

void Node::resume() { daemon_->process().signal(SIGCONT); }

std::string Node::metrics() const {
  try {
    return get_page(daemon_->admin_address(), "/metrics");
  } catch (const std::exception&) {
    return "";
  }
}

Node& Cluster::add(const std::string& role, std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--lease", std::to_string(lease_.count()), "--log-level",
                                     "warn", "--grace", "0"});
  nodes_.push_back(std::make_unique<Node>(store_, role, std::move(arguments)));
  nodes_.back()->start();
  return *nodes_.back();
}

void Cluster::kill(Node& node) {
  excuse(node.pid());
  node.kill();
}

std::vector<std::string> Cluster::front_ends() const {
  std::vector<std::string> addresses;
  for (const auto& node : nodes_) {
    if (!node->works()) addresses.push_back(node->address());
  }
  if (!addresses.empty()) return addresses;
  for (const auto& node : nodes_) addresses.push_back(node->address());
  return addresses;
}

double Cluster::sum(const std::string& name) const {
  double sum = 0;
  for (const auto& node : nodes_) {
    if (node->running()) sum += node->metric(name);
  }
  return sum;
}

}  // namespace weft::testing
