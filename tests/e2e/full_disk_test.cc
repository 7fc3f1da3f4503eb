// A full disk: submissions are refused, nothing acknowledged is lost, and all goes on by itself
// when there is room again. The disk is a real one: a small tmpfs in a mount namespace of the
// daemon's own, reached from outside through /proc/PID/root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/daemon.h"
#include "tests/support/http_client.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr size_t kDiskBytes = 24 << 20;
constexpr size_t kPayloadBytes = 200 << 10;

// The words that start a program with a small disk at `folder`.
std::vector<std::string> on_small_disk(const std::string& folder) {
  const std::string mount = "mount -t tmpfs -o size=" + std::to_string(kDiskBytes) + " none '" +
                            folder + "' && exec \"$0\" \"$@\"";
  return {"/usr/bin/unshare", geteuid() == 0 ? "--mount" : "-Urm", "/bin/sh", "-c", mount};
}

class FullDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::string> probe = on_small_disk(dir_.path().string());
    probe.push_back("/bin/true");
    if (run_process(probe).exit_code != 0) GTEST_SKIP() << "no mount namespace may be made here";
  }
  Daemon start(const std::string& free_disk_bytes) {
    return Daemon({.store = "sqlite:" + dir_.file("weft.db"),
                   .arguments = {"--free-disk", free_disk_bytes},
                   .wrapper = on_small_disk(dir_.path().string())});
  }
  // The disk as the daemon sees it.
  std::filesystem::path disk(Daemon& daemon) const {
    return "/proc/" + std::to_string(daemon.process().pid()) + "/root" + dir_.path().string();
  }
  // Submits jobs that are large until one is refused; returns that refusal. The ids go to `ids`.
  Ended submit_until_refused(Daemon& daemon, std::vector<std::string>& ids) const {
    const TempDir input;
    write_file(input.file("payload"), std::string(kPayloadBytes, 'x'));
    for (size_t i = 0; i < 2 * kDiskBytes / kPayloadBytes; ++i) {
      Ended ended = daemon.weft({"submit", "echo", "-p", "@" + input.file("payload")});
      if (ended.exit_code != 0) return ended;
      ids.push_back(ended.out.substr(0, ended.out.size() - 1));
    }
    return {};
  }
  static std::string state_of(const Daemon& daemon, const std::string& id) {
    return json::parse(daemon.weft({"get", id, "-o", "json"}).out)["state"];
  }

  TempDir dir_;
};

TEST_F(FullDisk, SubmissionsAreRefusedWhileThereIsStillRoomForTheRest) {
  Daemon daemon = start("12000000");
  std::vector<std::string> ids;
  const Ended refused = submit_until_refused(daemon, ids);
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("RESOURCE_EXHAUSTED"));
  EXPECT_THAT(refused.err, HasSubstr("--free-disk"));
  ASSERT_FALSE(ids.empty());
  const std::string ready = get_page(daemon.admin_address(), "/readyz");
  EXPECT_THAT(ready, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(ready, HasSubstr("--free-disk"));
  // What was acknowledged runs to its end all the same.
  for (const std::string& id : ids) EXPECT_EQ(daemon.weft({"result", id}).exit_code, 0);
}

TEST_F(FullDisk, JobsSettleWhenThereIsRoomAgain) {
  Daemon daemon = start("0");
  const std::string running = daemon.submit("count", R"({"to":100,"delay_ms":10})");
  Process watch = daemon.start_weft({"watch", running});
  ASSERT_EQ(watch.read_line(), "1");
  const std::filesystem::path ballast = disk(daemon) / "ballast";
  {
    std::ofstream file(ballast, std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  std::vector<std::string> ids;
  const Ended refused = submit_until_refused(daemon, ids);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("disk")) << refused.err;
  EXPECT_THAT(get_page(daemon.admin_address(), "/readyz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(get_page(daemon.admin_address(), "/livez"), StartsWith("HTTP/1.1 200"));

  std::filesystem::remove(ballast);
  const Ended watched = watch.wait();
  EXPECT_EQ(watched.exit_code, 0) << watched.err;
  EXPECT_EQ(state_of(daemon, running), "succeeded");
  for (const std::string& id : ids) EXPECT_EQ(daemon.weft({"result", id}).exit_code, 0);
  const std::string after = daemon.submit("echo", "there is room");
  EXPECT_EQ(daemon.weft({"result", after}).out, "there is room\n");
  EXPECT_THAT(get_page(daemon.admin_address(), "/readyz"), StartsWith("HTTP/1.1 200"));
}

}  // namespace
}  // namespace weft::testing
