// Page tokens: where a list goes on, tied to the query they were given for.
#pragma once

#include <string>

#include <weft/base/status.h>
#include <weft/store/job_admin.h>

namespace weft {

// Opaque text that holds the store's position. Thread: any.
std::string make_page_token(const JobFilter& filter, const std::string& position);

// The position. Errors: INVALID_ARGUMENT that names page_token, for a token of another filter and
// for what is no token. States are compared as a set.
StatusOr<std::string> read_page_token(const JobFilter& filter, const std::string& token);

// The same error, for a position that the store does not know.
Status page_token_error();

}  // namespace weft
