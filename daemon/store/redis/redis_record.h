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

// The part of a new record that the submitting process knows, from `keep` on.
std::string new_record_tail(const v1::JobSpec& spec, int64_t retention_ms);
// The spec as it is stored, the same for the same spec. A payload beyond
// limits::kRedisInlinePayload is left out of it; it stands beside it.
std::string stored_spec(v1::JobSpec& spec);
bool is_large(const v1::JobSpec& spec);

// Sets all that a record holds, which is everything but spec, outcome and progress. A finished job
// gets an outcome when it has none. False: it is not a record.
bool apply_record(std::string_view record, v1::Job& job);
// The whole job. What is nil is left out; `payload` is that of a large one. Errors: DATA_LOSS.
StatusOr<v1::Job> to_job(const RedisReply& record, const RedisReply& spec,
                         const RedisReply& outcome, const RedisReply& progress,
                         const RedisReply& payload = RedisReply());
// What stays of a running job's record until it ends, unless something happens to the job.
std::string_view from_flags(std::string_view record);
int64_t retention_of(std::string_view record);  // in milliseconds
void set_last_sequence(std::string& from_flags, uint64_t last);
// DATA_LOSS, with what to do.
Status damaged_job(std::string_view what);

// A block as it is stored and pushed.
std::string to_bytes(const ChunkBlock& block);
// Null when it is none.
ChunkBlockPtr to_block(std::string_view bytes);

}  // namespace weft
