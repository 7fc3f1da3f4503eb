// Random traces of operations, with repeated calls and lost replies, through every store: they all
// have to say and to keep the same.
//   WEFT_SEED=N differential_test      replays what a failure has printed
//   WEFT_TRACES=N differential_test    runs more of them
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <filesystem>
#include <iostream>

#include <weft/base/random.h>

#include "tests/differential/run.h"

namespace weft::testing {
namespace {

constexpr size_t kTraces = 24;
constexpr size_t kOperations = 60;

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

class Differential : public ::testing::Test {
 protected:
  void SetUp() override {
    // Where a commit costs nothing, if there is such a place: power is not cut here.
    const std::string memory = "/dev/shm/";
    folder_ = (std::filesystem::exists(memory) ? memory : ::testing::TempDir()) +
              "weft_differential_XXXXXX";
    spdlog::set_level(spdlog::level::off);  // connections and leases are lost on purpose
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Runs as many traces as are asked for; the first that fails is shrunk and printed.
  void run_traces(const MakeSubjects& make) {
    const bool replays = getenv("WEFT_SEED") != nullptr;
    const uint64_t seed = number_from_environment("WEFT_SEED", Random::from_system().next());
    const uint64_t traces = replays ? 1 : number_from_environment("WEFT_TRACES", kTraces);
    warm_up(make);
    std::cout << "seeds from " << seed << " on\n";
    for (uint64_t i = 0; i < traces && !HasFailure(); ++i) run_seed(make, seed + i);
  }
  std::string next_folder() {
    const std::string folder = folder_ + "/" + std::to_string(++folders_);
    std::filesystem::create_directory(folder);
    return folder;
  }

 private:
  static void run_seed(const MakeSubjects& make, uint64_t seed) {
    const std::vector<Operation> trace = make_trace(seed, kOperations);
    const std::optional<Difference> found = run_trace(make, trace, false);
    if (!found) return;
    std::vector<Operation> prefix(trace.begin(),
                                  trace.begin() + static_cast<ptrdiff_t>(found->operations));
    const std::optional<Difference> again = run_trace(make, prefix, true);
    if (!again) {
      ADD_FAILURE() << "seed " << seed << " failed once and not again:\n" << to_text(*found);
      return;
    }
    prefix.resize(again->operations);
    const std::optional<Difference> shortest = run_trace(make, shrink(make, prefix), true);
    ADD_FAILURE() << "WEFT_SEED=" << seed << " replays this; the stores differ after "
                  << again->operations << " operations, and after these:\n"
                  << to_text(shortest ? *shortest : *again);
  }
  static std::string to_text(const Difference& difference) {
    std::string text;
    for (const std::string& line : difference.log) text += "  " + line + "\n";
    return text + difference.text;
  }

  std::string folder_;
  size_t folders_ = 0;
};

TEST_F(Differential, StoresAgreeOnEveryTrace) {
  RedisProcess redis({.tcp = true});
  run_traces([this, &redis] {
    Subjects subjects;
    subjects.push_back(make_memory_subject());
    subjects.push_back(make_sqlite_subject(next_folder()));
    subjects.push_back(make_redis_subject(redis));
    return subjects;
  });
}

}  // namespace
}  // namespace weft::testing
