#pragma once

#include <curl/curl.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "saathii/base/time.hpp"

// What differs between versions of libcurl: how it is told to go on when some of
// the recipients are refused.
#if LIBCURL_VERSION_NUM >= 0x080200
#define SAATHII_CURLOPT_MAIL_RCPT_ALLOWFAILS CURLOPT_MAIL_RCPT_ALLOWFAILS
#else
#define SAATHII_CURLOPT_MAIL_RCPT_ALLOWFAILS CURLOPT_MAIL_RCPT_ALLLOWFAILS
#endif

namespace saathii::alert {

/// One transfer by libcurl, which never outlasts `timeout` by more than a moment
/// and ends soon after a stop.
class Transfer {
 public:
  /// `ca_file`: the certificates to trust; empty: the system's.
  Transfer(Duration timeout, const std::string& ca_file);

  template <typename Value>
  void set(CURLoption option, Value value) {
    if (curl_easy_setopt(easy_.get(), option, value) != CURLE_OK) {
      throw std::runtime_error("libcurl does not know what it is asked for");
    }
  }
  /// Adds to a list that `option` takes; call use_list() when it is whole.
  void add(const std::string& item);
  void use_list(CURLoption option);

  /// CURLE_ABORTED_BY_CALLBACK: it was stopped.
  [[nodiscard]] CURLcode run(const std::stop_token& stop);
  [[nodiscard]] std::string error(CURLcode code) const;
  [[nodiscard]] long response_code() const;
  [[nodiscard]] Duration retry_after() const;

  /// What a callback asks: shall it end?
  [[nodiscard]] bool stopped() const { return stop_.stop_requested(); }

 private:
  struct Cleanup {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };

  std::array<char, CURL_ERROR_SIZE> message_{};
  std::unique_ptr<curl_slist, Cleanup> building_;
  std::vector<std::unique_ptr<curl_slist, Cleanup>> lists_;
  std::stop_token stop_;
  std::unique_ptr<CURL, Cleanup> easy_;
};

/// The text with each secret replaced by "***". Ones too short to be secrets stay.
[[nodiscard]] std::string scrub(std::string text, const std::vector<std::string_view>& secrets);

}  // namespace saathii::alert
