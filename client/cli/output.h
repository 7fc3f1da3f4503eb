// What `weft` prints: chunks, outcomes and records, as text or JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"

namespace weft::cli {

// Standard output with a buffer of its own: one write for a batch of chunks. A closed reader is an
// answer, not a signal.
class Output {
 public:
  Output();
  // Adds bytes; written when the buffer is full, or by flush().
  void add(std::string_view bytes);
  void add_line(std::string_view bytes);
  // False: nothing more can be written, and the rest is dropped.
  bool flush();
  // Writes the rest. kSucceeded; kOutputClosed when the reader has left; kRefused, after saying
  // why, when the rest could not be written.
  ExitCode finish();
  ExitCode code() const;

 private:
  std::string buffer_;
  int error_ = 0;  // errno of the write that failed
};

// "succeeded"
std::string state_name(v1::JobState state);
// `name`: the bytes as text, or `name`_base64 when they are not UTF-8.
void put_bytes(nlohmann::ordered_json& object, const std::string& name, const std::string& bytes);
nlohmann::ordered_json job_json(const v1::Job& job);
std::string job_table(const v1::Job& job);
// Harmless for a terminal.
std::string one_line(const std::string& text);
// One document as the format wants it: indented, or on one line.
std::string document(const nlohmann::ordered_json& json, Format format);

// "[#####-----]  50% message", in fewer than `columns` columns.
std::string progress_bar(const v1::Progress& progress, size_t columns);

// Prints a stream's events in one of the formats.
class EventPrinter {
 public:
  // `raw`: chunks as they are, with nothing between them; for tables only.
  EventPrinter(Format format, std::string job_id, bool raw = false);
  // False: nothing more can be written to standard output.
  bool print(const v1::Event& event);
  // The end of the output; `state` is unspecified when the stream stopped before its job.
  bool finish();
  // Why standard output takes no more, as Output::code().
  ExitCode output_code() const { return out_.code(); }

  const v1::Finished& finished() const { return finished_; }

 private:
  void print_chunks(const v1::Chunks& chunks);
  void print_progress(const v1::Progress& progress);
  void print_finished();
  void clear_progress();

  Output out_;
  const Format format_;
  const std::string job_id_;
  const bool raw_;
  const bool progress_line_;
  bool progress_shown_ = false;
  bool begun_ = false;
  uint64_t chunks_ = 0;
  v1::Finished finished_;
};

}  // namespace weft::cli
