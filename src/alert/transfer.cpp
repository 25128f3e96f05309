#include "transfer.hpp"

#include <algorithm>
#include <mutex>

namespace saathii::alert {

namespace {

constexpr Duration connect_timeout = std::chrono::seconds{10};
constexpr int poll_ms = 1000;  ///< between looks; what happens ends the wait
constexpr std::size_t least_secret_bytes = 4;

long milliseconds(Duration length) {
  return static_cast<long>(
      std::max<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(length).count(), 1));
}

/// Once, whichever thread comes first: the library says that it may be any.
void prepare_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      throw std::runtime_error("libcurl cannot be used");
    }
  });
}

}  // namespace

Transfer::Transfer(Duration timeout, const std::string& ca_file) {
  prepare_library();
  easy_.reset(curl_easy_init());
  if (!easy_) {
    throw std::bad_alloc();
  }
  set(CURLOPT_ERRORBUFFER, message_.data());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TIMEOUT_MS, milliseconds(timeout));
  set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(std::min(timeout, connect_timeout)));
  // A look-up of a name that hangs is left behind, not waited for.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_FORBID_REUSE, 1L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!ca_file.empty()) {
    set(CURLOPT_CAINFO, ca_file.c_str());
    set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  }
}

void Transfer::add(const std::string& item) {
  curl_slist* const longer = curl_slist_append(building_.get(), item.c_str());
  if (longer == nullptr) {
    throw std::bad_alloc();
  }
  static_cast<void>(building_.release());
  building_.reset(longer);
}

void Transfer::use_list(CURLoption option) {
  set(option, building_.get());
  lists_.push_back(std::move(building_));
}

CURLcode Transfer::run(const std::stop_token& stop) {
  stop_ = stop;
  struct Multi {
    Multi() : handle(curl_multi_init()) {
      if (handle == nullptr) {
        throw std::bad_alloc();
      }
    }
    ~Multi() { curl_multi_cleanup(handle); }
    Multi(const Multi&) = delete;
    Multi& operator=(const Multi&) = delete;
    CURLM* handle;
  } multi;
  curl_multi_add_handle(multi.handle, easy_.get());
  CURLcode code = CURLE_ABORTED_BY_CALLBACK;
  {
    const std::stop_callback wake(stop, [&] { curl_multi_wakeup(multi.handle); });
    int running = 1;
    while (curl_multi_perform(multi.handle, &running) == CURLM_OK && running > 0 &&
           !stop.stop_requested()) {
      curl_multi_poll(multi.handle, nullptr, 0, poll_ms, nullptr);
    }
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.handle, &left)) {
      code = message->msg == CURLMSG_DONE ? message->data.result : code;
    }
  }
  curl_multi_remove_handle(multi.handle, easy_.get());
  return code;
}

std::string Transfer::error(CURLcode code) const {
  return message_[0] != '\0' ? message_.data() : curl_easy_strerror(code);
}

long Transfer::response_code() const {
  long code = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &code);
  return code;
}

Duration Transfer::retry_after() const {
  curl_off_t seconds = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &seconds);
  return std::chrono::seconds{std::clamp<curl_off_t>(seconds, 0, 86'400)};
}

std::string scrub(std::string text, const std::vector<std::string_view>& secrets) {
  for (const std::string_view secret : secrets) {
    if (secret.size() < least_secret_bytes) {
      continue;
    }
    for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
      text.replace(at, secret.size(), "***");
      at += 3;
    }
  }
  return text;
}

}  // namespace saathii::alert
