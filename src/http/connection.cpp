#include "connection.hpp"

#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <ctime>
#include <optional>

#include "saathii/log/log.hpp"

namespace saathii::http {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Request = beast::http::request_parser<beast::http::empty_body>;

constexpr const char* text_type = "text/plain; charset=utf-8";
constexpr std::size_t read_bytes = 1024;
/// What is read, unseen, of what a client sends after our last answer, and for
/// how long: closing at once would make the kernel take that answer back.
constexpr std::size_t linger_bytes = std::size_t{64} * 1024;
constexpr Duration linger_time = std::chrono::seconds{1};

/// "Sun, 22 Nov 2026 08:00:00 GMT"
std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 40> text{};
  const std::size_t size =
      std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text.data(), size};
}

Response plain(unsigned status, const std::string& text) {
  return {status, text_type, text + "\n"};
}

/// What to answer to a request that cannot be read; nothing: the client is gone
/// or too slow.
std::optional<Response> answer_to(const error_code& code) {
  using Error = beast::http::error;
  if (code == Error::end_of_stream || code == Error::partial_message) {
    return std::nullopt;
  }
  if (code == Error::header_limit || code == Error::buffer_overflow) {
    return plain(431, "the request's header is too long");
  }
  if (code == Error::body_limit) {
    return plain(413, "a request has no body here");
  }
  if (code == Error::bad_version) {
    return plain(505, "HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  if (code.category() == beast::http::make_error_code(Error::bad_method).category()) {
    return plain(400, "this is no HTTP request");
  }
  return std::nullopt;
}

class BeastConnection final : public Connection {
 public:
  BeastConnection(Socket socket, const Pages& pages, const Limits& limits,
                  std::function<void()> on_idle)
      : stream_(std::move(socket)), pages_(pages), limits_(limits), on_idle_(std::move(on_idle)) {}

  asio::awaitable<void> run() override {
    for (int left = limits_.requests; left > 0; --left) {
      const bool has_begun = co_await wait_for_request();
      if (!has_begun) {
        break;
      }
      const bool goes_on = co_await serve_request(left == 1);
      if (!goes_on) {
        break;
      }
    }
    co_await linger();
    stream_.close();
  }

  void close() override { stream_.close(); }

  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> idle_since() const override {
    return idle_since_;
  }

 private:
  /// An idle client has longer than one in the middle of a request.
  asio::awaitable<bool> wait_for_request() {
    if (buffer_.size() > 0) {
      co_return true;
    }
    idle_since_ = std::chrono::steady_clock::now();
    on_idle_();
    stream_.expires_after(limits_.idle);
    error_code error;
    const std::size_t size = co_await stream_.async_read_some(
        buffer_.prepare(read_bytes), asio::redirect_error(asio::use_awaitable, error));
    buffer_.commit(size);
    idle_since_.reset();
    co_return !error;
  }

  /// Whether the connection goes on.
  asio::awaitable<bool> serve_request(bool last) {
    Request request;
    request.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
    request.body_limit(0);
    stream_.expires_after(limits_.request);
    error_code error;
    co_await beast::http::async_read_header(stream_, buffer_, request,
                                            asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      const std::optional<Response> response = answer_to(error);
      if (response) {
        co_await send(*response, request.get(), false);
      }
      co_return false;
    }
    const auto& message = request.get();
    const bool keep_alive = message.keep_alive() && !request.chunked() && !last;
    const Response response = request.chunked() ? plain(413, "a request has no body here")
                                                : respond(message.method(), message.target());
    const bool is_sent = co_await send(response, message, keep_alive);
    co_return is_sent&& keep_alive;
  }

  [[nodiscard]] Response respond(beast::http::verb method, std::string_view target) const {
    const auto page = pages_.find(std::string(target.substr(0, target.find('?'))));
    if (page == pages_.end()) {
      return plain(404, "there is no such page; see /");
    }
    if (method != beast::http::verb::get && method != beast::http::verb::head) {
      return plain(405, "only GET and HEAD are answered");
    }
    try {
      return page->second();
    } catch (const std::exception& error) {
      log::error("http: " + page->first + " cannot be answered: " + error.what());
      return plain(500, "saathiid could not make this page; its log says why");
    }
  }

  using Message = beast::http::request<beast::http::empty_body>;

  asio::awaitable<bool> send(const Response& response, const Message& request, bool keep_alive) {
    const bool is_head = request.method() == beast::http::verb::head;
    beast::http::response<beast::http::string_body> message(
        static_cast<beast::http::status>(response.status), request.version() == 10 ? 10 : 11);
    message.set(beast::http::field::server, "saathiid");
    message.set(beast::http::field::date, http_date());
    message.set(beast::http::field::content_type, response.content_type);
    message.set(beast::http::field::cache_control, "no-store");
    if (response.status == 405) {
      message.set(beast::http::field::allow, "GET, HEAD");
    }
    message.keep_alive(keep_alive);
    if (!is_head) {
      message.body() = response.body;
    }
    message.content_length(response.body.size());
    stream_.expires_after(limits_.response);
    error_code error;
    co_await beast::http::async_write(stream_, message,
                                      asio::redirect_error(asio::use_awaitable, error));
    co_return !error;
  }

  asio::awaitable<void> linger() {
    error_code error;
    stream_.socket().shutdown(Socket::shutdown_send, error);
    stream_.expires_after(linger_time);
    for (std::size_t left = linger_bytes; !error && left > 0;) {
      buffer_.clear();
      const std::size_t size = co_await stream_.async_read_some(
          buffer_.prepare(read_bytes), asio::redirect_error(asio::use_awaitable, error));
      left -= std::min(size, left);
    }
  }

  beast::basic_stream<asio::generic::stream_protocol> stream_;
  const Pages& pages_;
  const Limits& limits_;
  const std::function<void()> on_idle_;
  std::optional<std::chrono::steady_clock::time_point> idle_since_;
  beast::flat_buffer buffer_{limits_.header_bytes + read_bytes};
};

}  // namespace

std::shared_ptr<Connection> make_connection(Socket socket, const Pages& pages, const Limits& limits,
                                            std::function<void()> on_idle) {
  return std::make_shared<BeastConnection>(std::move(socket), pages, limits, std::move(on_idle));
}

}  // namespace saathii::http
