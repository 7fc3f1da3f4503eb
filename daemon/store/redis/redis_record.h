// What Redis keeps of a job, and what the protocol's messages are to it (the layout is told in
// scripts/common.lua).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <weft/base/status.h>
#include <weft/store/chunk_block.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/token.h>
#include <weft/v1/job.pb.h>

namespace weft {

// An incarnation as 16 bytes, and as the 32 hex digits that keys and channels have.
std::string to_bytes(Incarnation incarnation);
std::string to_hex(Incarnation incarnation);
// REQUIRES: 16 bytes.
Incarnation to_incarnation(std::string_view bytes);
// Nothing when it is not 32 hex digits.
std::optional<Incarnation> parse_hex(std::string_view digits);

// The worker and the attempt of a token, as they stand in a record.
std::string token_bytes(const Token& token);
// The number as ">I8", and back from up to eight bytes.
std::string to_bytes(uint64_t number);
uint64_t to_number(std::string_view bytes);

// What P spec has of a new job, from `keep` on: the same for the same spec. A payload beyond
// limits::kRedisInlinePayload is left out of it; it stands beside it.
std::string stored_spec(v1::JobSpec& spec, int64_t retention_ms);
bool is_large(const v1::JobSpec& spec);

// Microseconds, rounded up: a time has not come before the one that it is in.
int64_t to_us(const google::protobuf::Timestamp& time);
int64_t to_us(const google::protobuf::Duration& duration);

// Sets all that a record holds, which is everything but spec, outcome, progress and errors. A
// finished job gets an outcome when it has none. False: it is not a record.
bool apply_record(std::string_view record, v1::Job& job);
// The whole job. What is nil is left out; `payload` is that of a large one. Errors: DATA_LOSS.
StatusOr<v1::Job> to_job(const RedisReply& record, const RedisReply& spec,
                         const RedisReply& outcome, const RedisReply& progress,
                         const RedisReply& payload = RedisReply(),
                         const RedisReply& errors = RedisReply());

// What never changes of a job, beside its spec.
struct StoredSpec {
  uint64_t age = 0;
  int64_t submit_us = 0;
  int64_t retention_ms = 0;
  int64_t timeout_us = 0;  // the total one; 0: none
  bool timed = false;      // it has that, or an expire_at
};
// Reads what P spec and P job have of a running job. False: that is no such job.
bool read_spec(std::string_view bytes, v1::JobSpec& spec, StoredSpec& stored);
bool read_running(std::string_view bytes, const StoredSpec& stored, v1::Job& job);
// What stays of P job until the job ends, unless something happens to it; without its place in the
// lane, which is each job's own.
std::string from_flags(std::string_view job);
// It has been SCHEDULED, and its place in a lane is not its age.
bool has_place(std::string_view job);
void set_last_sequence(std::string& from_flags, uint64_t last);
// What an AttemptError says of an attempt that ended so, beside the attempt itself; serialized.
std::string error_of(const v1::Outcome& outcome);
// DATA_LOSS, with what to do.
Status damaged_job(std::string_view what);

// A block as it is stored and pushed.
std::string to_bytes(const ChunkBlock& block);
// Null when it is none.
ChunkBlockPtr to_block(std::string_view bytes);

}  // namespace weft
