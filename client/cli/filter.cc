// Words of a filter and what they mean.
#include "client/cli/filter.h"

#include <google/protobuf/util/time_util.h>

#include "client/cli/output.h"
#include "client/cli/time_text.h"

namespace weft::cli {
namespace {

using google::protobuf::Timestamp;
using google::protobuf::util::TimeUtil;

constexpr char kStates[] = "scheduled, queued, running, succeeded, dead, cancelled or expired";

v1::JobState state_of(const std::string& name) {
  for (int state = v1::JobState_MIN; state <= v1::JobState_MAX; ++state) {
    const auto value = static_cast<v1::JobState>(state);
    if (value != v1::JOB_STATE_UNSPECIFIED && state_name(value) == name) return value;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

CLI::Validator state_word() {
  return CLI::Validator(
      [](std::string& word) {
        return state_of(word) != v1::JOB_STATE_UNSPECIFIED
                   ? std::string()
                   : "'" + word + "' is not a state: use " + kStates;
      },
      "STATE");
}

// A time, or how long ago it was.
bool read_time(const std::string& text, Timestamp* time) {
  if (const auto at = parse_time(text); at.ok()) {
    *time = *at;
    return true;
  }
  const auto ago = parse_duration(text);
  if (ago.ok()) *time = TimeUtil::GetCurrentTime() - *ago;
  return ago.ok();
}

CLI::Validator time_word() {
  return CLI::Validator(
      [](std::string& text) {
        Timestamp time;
        return read_time(text, &time)
                   ? std::string()
                   : "'" + text +
                         "' is not a time: write one as in 2026-01-31T08:00:00Z, or how long "
                         "ago it was, as 90s, 2h or 1d";
      },
      "TIME");
}

}  // namespace

bool FilterOptions::empty() const {
  return states.empty() && queue.empty() && type.empty() && since.empty() && until.empty() &&
         key.empty() && error.empty();
}

v1::JobFilter FilterOptions::filter() const {
  v1::JobFilter filter;
  for (const std::string& state : states) filter.add_states(state_of(state));
  filter.set_queue(queue);
  filter.set_type(type);
  if (!since.empty()) read_time(since, filter.mutable_submitted_from());
  if (!until.empty()) read_time(until, filter.mutable_submitted_before());
  filter.set_idempotency_key(key);
  filter.set_error(error);
  return filter;
}

void add_filter_options(CLI::App& command, FilterOptions& options) {
  const auto add = [&command](const char* name, std::string& value, const char* help,
                              const char* type) {
    command.add_option(name, value, help)->type_name(type)->check(text());
  };
  command.add_option("--state,-s", options.states, "Only jobs in this state; may be repeated")
      ->type_name("STATE")
      ->check(state_word())
      ->allow_extra_args(false);
  add("--queue,-q", options.queue, "Only jobs of this queue", "NAME");
  add("--type,-t", options.type, "Only jobs of this type", "TYPE");
  command
      .add_option("--since", options.since,
                  "Only jobs submitted then or later: a time, or how long ago, as 2h")
      ->type_name("TIME")
      ->check(time_word());
  command.add_option("--until", options.until, "Only jobs submitted before that")
      ->type_name("TIME")
      ->check(time_word());
  add("--key", options.key, "Only jobs with this idempotency key", "KEY");
  add("--error", options.error, "Only jobs whose error has this text in it", "TEXT");
}

}  // namespace weft::cli
