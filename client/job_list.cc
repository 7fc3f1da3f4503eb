// Following the pages of a list.
#include <weft/client/client.h>
#include <weft/client/job_list.h>

namespace weft {

void JobList::advance() {
  ++at_;
  while (!ended_ && at_ >= page_.jobs_size()) {
    if (first_page_ || !request_.page_token().empty()) {
      first_page_ = false;
      StatusOr<v1::ListJobsResponse> page = client_->list(request_);
      if (!page.ok()) {
        status_ = page.status();
        ended_ = true;
        return;
      }
      page_ = *std::move(page);
      request_.set_page_token(page_.next_page_token());
      at_ = 0;
    } else {
      ended_ = true;
    }
  }
}

}  // namespace weft
