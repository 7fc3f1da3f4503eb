// JobList: one pass over a list of jobs, page after page.
#pragma once

#include <cstddef>
#include <iterator>
#include <utility>

#include <weft/base/status.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

class Client;

// for (const v1::Job& job : client.jobs(request)): asks for the next page when it comes to it, so
// one page is all there is in memory. Jobs that come or change meanwhile may or may not be seen.
// Thread: one. Lifetime: the client outlives it. Errors: status(), once the range has ended.
class JobList {
 public:
  JobList(Client& client, v1::ListJobsRequest request)
      : client_(&client), request_(std::move(request)) {}

  class Iterator {
   public:
    using value_type = v1::Job;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(JobList* list) : list_(list) {}
    const v1::Job& operator*() const { return list_->page_.jobs(list_->at_); }
    Iterator& operator++() {
      list_->advance();
      return *this;
    }
    void operator++(int) { list_->advance(); }
    friend bool operator==(const Iterator& i, std::default_sentinel_t) { return i.list_->ended_; }

   private:
    JobList* list_;
  };
  Iterator begin() {
    advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }
  // Why the jobs stopped coming; OK after the last one.
  const Status& status() const { return status_; }

 private:
  void advance();

  Client* client_;
  v1::ListJobsRequest request_;
  v1::ListJobsResponse page_;
  int at_ = -1;
  bool first_page_ = true;
  bool ended_ = false;
  Status status_;
};

}  // namespace weft
