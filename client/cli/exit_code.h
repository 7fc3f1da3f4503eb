// The exit codes of `weft`, as documented in its --help and in README.md.
#pragma once

#include <weft/base/status.h>
#include <weft/v1/job.pb.h>

namespace weft::cli {

enum ExitCode : int {
  kSucceeded = 0,
  kRefused = 1,  // the server refused, or another error, as a full disk for the output
  kUsage = 2,
  kDead = 10,
  kCancelled = 11,
  kExpired = 12,
  kNotFound = 13,
  kUnavailable = 14,
  kDeadline = 124,  // as timeout(1)
  kInterrupted = 130,
  kOutputClosed = 141,  // the reader of standard output left, as for a program ended by SIGPIPE
};

inline int exit_code_of(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kSucceeded;
    case StatusCode::kNotFound:
      return kNotFound;
    case StatusCode::kUnavailable:
      return kUnavailable;
    case StatusCode::kDeadlineExceeded:
      return kDeadline;
    default:
      return kRefused;
  }
}

inline int exit_code_of(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_SUCCEEDED:
      return kSucceeded;
    case v1::JOB_STATE_DEAD:
      return kDead;
    case v1::JOB_STATE_CANCELLED:
      return kCancelled;
    case v1::JOB_STATE_EXPIRED:
      return kExpired;
    default:
      return kRefused;
  }
}

inline constexpr char kExitCodesHelp[] =
    "Exit codes:\n"
    "  0    succeeded\n"
    "  1    refused by the server, or another error\n"
    "  2    the command line is wrong\n"
    "  10   the job is dead (failed for good)\n"
    "  11   the job was cancelled\n"
    "  12   the job expired before it started\n"
    "  13   there is no such job\n"
    "  14   no server answers\n"
    "  124  the deadline passed\n"
    "  130  interrupted\n"
    "  141  the reader of standard output left\n";

}  // namespace weft::cli
