// Cluster: several real weftds that share one Redis, killed, stopped and started again by a test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/daemon.h"

namespace weft::testing {

// Asks until it holds. False: Process::kPatience, or `patience`, has passed.
bool eventually(const std::function<bool()>& holds,
                std::chrono::milliseconds patience = Process::kPatience);

// The value of a metric with its labels in a page of /metrics. 0: these labels are not there, so
// nothing was counted yet. NaN, which equals nothing: there is no page, or no such metric.
double metric(const std::string& page, const std::string& name);

// One daemon of a cluster, over all its starts: its address stays the same.
// Thread: the cluster's.
class Node {
 public:
  Node(std::string store, std::string role, std::vector<std::string> arguments);

  void start();
  // SIGKILL.
  void kill();
  // SIGTERM, and waits for the end; its exit code.
  int stop();
  // SIGSTOP, and returns when it stands still; SIGCONT.
  void pause();
  void resume();

  bool running() const { return daemon_ != nullptr; }
  bool works() const { return role_ != "frontend"; }
  const std::string& address() const { return address_; }
  pid_t pid() { return daemon_->process().pid(); }
  Daemon& daemon() { return *daemon_; }
  // A page of metrics; "" when it does not answer.
  std::string metrics() const;
  double metric(const std::string& name) const { return testing::metric(metrics(), name); }

 private:
  const std::string store_;
  const std::string role_;
  const std::vector<std::string> arguments_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<Daemon> daemon_;
};

// Thread: one, which outlives it. Lifetime: the destructor kills all of them.
class Cluster {
 public:
  // So long that a daemon on a machine under load, or one that pauses between two tries after an
  // outage, keeps it; and a test need not wait long for its end.
  static constexpr std::chrono::seconds kLease{5};
  static constexpr std::chrono::seconds kDefaultLease{15};

  explicit Cluster(std::string store, std::chrono::seconds lease = kLease)
      : store_(std::move(store)), lease_(lease) {}

  // Starts one; it stays where it is.
  Node& add(const std::string& role, std::vector<std::string> arguments = {});
  Node& at(size_t index) { return *nodes_[index]; }
  size_t size() const { return nodes_.size(); }
  // Kills it and remembers the process as one that died.
  void kill(Node& node);
  // Whether this process was killed, or was paused for longer than its lease.
  bool excused(pid_t pid) const { return excused_.contains(pid); }
  void excuse(pid_t pid) { excused_.insert(pid); }
  // Of the front ends, and of all that run jobs too when there are none.
  std::vector<std::string> front_ends() const;
  // A metric over all that run; NaN: one of them does not answer.
  double sum(const std::string& name) const;

 private:
  const std::string store_;
  const std::chrono::seconds lease_;
  std::deque<std::unique_ptr<Node>> nodes_;
  std::set<pid_t> excused_;
};

}  // namespace weft::testing
