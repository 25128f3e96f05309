#include "webhook.hpp"

#include <fmt/format.h>

#include "saathii/config/alert_url.hpp"
#include "transfer.hpp"

namespace saathii::alert {

namespace {

constexpr std::size_t max_answer_bytes = 200;

std::size_t keep_beginning(const char* data, std::size_t size, std::size_t count, void* user) {
  auto& answer = *static_cast<std::string*>(user);
  answer.append(data, std::min(size * count, max_answer_bytes - answer.size()));
  return size * count;
}

/// "host:port" of a URL that has been checked.
std::string place_of(const std::string& url) {
  const std::size_t begin = url.find("://") + 3;
  return url.substr(begin, url.find_first_of("/?#", begin) - begin);
}

/// All that stands behind the host, without the '/'.
std::string_view path_of(std::string_view url) {
  const std::size_t path = url.find_first_of("/?#", url.find("://") + 3);
  return path == std::string_view::npos ? std::string_view{} : url.substr(path + 1);
}

class Webhook final : public Channel {
 public:
  Webhook(const config::AlertWebhook& settings, std::string ca_file)
      : settings_(settings), ca_file_(std::move(ca_file)), place_(place_of(settings.url)) {}

  Verdict send(Delivery& delivery, const std::stop_token& stop) override {
    std::string token;
    try {
      token = read_password(settings_.token).value_or("");
      if (!token.empty() && !config::keeps_secrets(settings_.url)) {
        return {Verdict::Kind::refused,
                place_ +
                    " is not sent the token, which anybody on the way could read: use https:// "
                    "in url of [alerts.webhook], or take the token away"};
      }
      return post(*delivery.letter, token, stop);
    } catch (const std::exception& error) {
      return {Verdict::Kind::retry, scrub(error.what(), {token, path_of(settings_.url)})};
    }
  }

 private:
  Verdict post(const Letter& letter, const std::string& token, const std::stop_token& stop) const {
    Transfer transfer(settings_.timeout, ca_file_);
    std::string answer;
    const std::string json = to_json(letter);
    transfer.set(CURLOPT_URL, settings_.url.c_str());
    transfer.set(CURLOPT_PROTOCOLS_STR, "http,https");
    transfer.set(CURLOPT_USERAGENT, "saathiid");
    transfer.set(CURLOPT_POST, 1L);
    transfer.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(json.size()));
    transfer.set(CURLOPT_POSTFIELDS, json.c_str());
    transfer.set(CURLOPT_WRITEFUNCTION, &keep_beginning);
    transfer.set(CURLOPT_WRITEDATA, static_cast<void*>(&answer));
    transfer.add("Content-Type: application/json");
    transfer.add("Expect:");
    if (!token.empty()) {
      std::string header = settings_.token_header;
      header.replace(header.find("{token}"), std::string_view("{token}").size(), token);
      transfer.add(header);
    }
    transfer.use_list(CURLOPT_HTTPHEADER);
    const CURLcode code = transfer.run(stop);
    if (code != CURLE_OK) {
      return {Verdict::Kind::retry,
              scrub(fmt::format("{}: {}", place_, one_line(transfer.error(code), max_answer_bytes)),
                    {token, path_of(settings_.url)})};
    }
    return judge(transfer,
                 scrub(one_line(answer, max_answer_bytes), {token, path_of(settings_.url)}));
  }

  [[nodiscard]] Verdict judge(const Transfer& transfer, const std::string& answer) const {
    const long status = transfer.response_code();
    const std::string said =
        fmt::format("{} answered {}{}", place_, status, answer.empty() ? "" : " (" + answer + ")");
    if (status >= 200 && status < 300) {
      return {};
    }
    if (status >= 500 || status == 408 || status == 425 || status == 429) {
      return {Verdict::Kind::retry, said, transfer.retry_after(), true};
    }
    if (status >= 300 && status < 400) {
      return {Verdict::Kind::refused,
              said + ": it leads elsewhere; put where it leads into url of [alerts.webhook]"};
    }
    return {Verdict::Kind::refused, said + ": correct url or the token of [alerts.webhook]"};
  }

  const config::AlertWebhook settings_;
  const std::string ca_file_;
  const std::string place_;
};

}  // namespace

std::shared_ptr<Channel> make_webhook(const config::AlertWebhook& settings,
                                      const std::string& ca_file) {
  return std::make_shared<Webhook>(settings, ca_file);
}

}  // namespace saathii::alert
