// Two processes share a store, and a handler of one holds its loop: what becomes of its neighbours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "tests/support/daemon.h"
#include "tests/support/http_client.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

// A held loop is renewed for two leases.
constexpr int64_t kLeaseMs = 2000;

// NaN, which equals nothing: there is none.
double metric(const Daemon& daemon, const std::string& name) {
  const std::string page = get_page(daemon.admin_address(), "/metrics");
  const size_t at = page.find("\n" + name + " ");
  return at == std::string::npos ? std::numeric_limits<double>::quiet_NaN()
                                 : std::stod(page.substr(at + name.size() + 2));
}

bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + Process::kPatience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// `holder` has the types hog and patient, `other` has neither.
class HeldLoop : public ::testing::Test {
 protected:
  static DaemonOptions options(const RedisProcess& redis, std::vector<std::string> more) {
    DaemonOptions options{.store = redis.unix_url(),
                          .arguments = {"--lease", std::to_string(kLeaseMs / 1000), "--log-level",
                                        "warn", "--grace", "0"}};
    options.arguments.insert(options.arguments.end(), more.begin(), more.end());
    return options;
  }
  DaemonOptions holder_options() const {
    DaemonOptions held = options(redis, {"--role", "worker"});
    held.program = WEFT_BIN_DIR "/trouble_worker";
    return held;
  }
  nlohmann::json job(const std::string& id) const {
    const Ended got = other.weft({"get", id, "-o", "json"});
    return nlohmann::json::parse(got.out, nullptr, false);
  }
  bool runs(const std::string& id, int attempt) const {
    const nlohmann::json record = job(id);
    return record.value("state", "") == "running" && record.value("attempt", 0) == attempt;
  }

  RedisProcess redis;
  Daemon other{options(redis, {"--role", "all"})};
  Daemon holder{holder_options()};
};

TEST_F(HeldLoop, OfTwoLeasesKeepsTheJobsBesideIt) {
  const std::string neighbour = other.submit("patient", "{}");
  ASSERT_TRUE(eventually([&] { return runs(neighbour, 1); }));
  const std::string hog = other.submit("hog", R"({"ms":)" + std::to_string(2 * kLeaseMs) + "}");
  ASSERT_TRUE(eventually([&] { return job(hog).value("state", "") == "succeeded"; }));
  EXPECT_EQ(job(hog).value("attempt", 0), 1);
  EXPECT_TRUE(runs(neighbour, 1));
  EXPECT_EQ(metric(other, "weft_leases_expired_total"), 0);
  EXPECT_EQ(metric(holder, "weft_leases_lost_total"), 0);
  EXPECT_GE(metric(holder, "weft_keeper_renewals_total"), 2);
  EXPECT_THAT(holder.process().err(), HasSubstr("by job " + hog + " (hog)"));
}

TEST_F(HeldLoop, BeyondThatLosesThemAndIsRefused) {
  const std::string neighbour = other.submit("patient", "{}");
  ASSERT_TRUE(eventually([&] { return runs(neighbour, 1); }));
  const std::string hog = other.submit("hog", R"({"ms":)" + std::to_string(6 * kLeaseMs) + "}");
  ASSERT_TRUE(eventually([&] { return metric(other, "weft_leases_expired_total") == 1; }));
  EXPECT_EQ(job(neighbour).value("state", ""), "queued");  // only the holder could run it
  const Ended cancel = other.weft({"cancel", hog});
  EXPECT_EQ(cancel.exit_code, 0) << cancel.err;
  EXPECT_EQ(job(hog).value("state", ""), "cancelled");
  // When its loop goes on, nothing it did counts, and it takes its jobs as another process.
  ASSERT_TRUE(eventually([&] { return runs(neighbour, 2); }));
  EXPECT_EQ(job(neighbour).value("crashes", 0), 0);
  EXPECT_EQ(job(hog).value("state", ""), "cancelled");
  EXPECT_EQ(metric(holder, "weft_leases_lost_total"), 1);
  EXPECT_EQ(metric(holder, R"(weft_jobs_finished_total{type="patient",outcome="lease_lost"})"), 1);
  EXPECT_THAT(holder.process().err(), HasSubstr("lease is not renewed any more"));
  const Ended list = other.weft({"worker", "list", "-o", "json"});
  const nlohmann::json workers = nlohmann::json::parse(list.out, nullptr, false);
  ASSERT_EQ(workers.size(), 2u);
  EXPECT_EQ(
      workers[0]["role"].get<std::string>().size() + workers[1]["role"].get<std::string>().size(),
      std::string("allworker").size());
}

}  // namespace
}  // namespace weft::testing
