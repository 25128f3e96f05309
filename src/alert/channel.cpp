#include "saathii/alert/channel.hpp"

#include "command.hpp"
#include "mail.hpp"
#include "webhook.hpp"

namespace saathii::alert {

std::shared_ptr<Channel> make_channel(std::string_view name, const config::Alerts& settings) {
  if (name == "command" && !settings.command.run.empty()) {
    return make_command(settings.command);
  }
  if (name == "webhook" && !settings.webhook.url.empty()) {
    return make_webhook(settings.webhook, settings.ca_file);
  }
  if (name == "mail" && !settings.mail.smtp.empty()) {
    return make_mail(settings.mail, settings.ca_file);
  }
  return nullptr;
}

}  // namespace saathii::alert
