variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "availability_zones" {
  type    = list(string)
  default = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
}

variable "vpc_cidr" {
  type    = string
  default = "10.40.0.0/16"
}

variable "atlas_cidr" {
  type        = string
  default     = "10.41.0.0/21"
  description = "The network of Atlas; must not meet that of the VPC, nor a network that VPN clients get."
}

variable "atlas_project_id" {
  type = string
}

variable "aws_account_id" {
  type = string
}

variable "web_password" {
  type      = string
  sensitive = true
}

variable "host_password" {
  type      = string
  sensitive = true
}

variable "vpn_ami" {
  type        = string
  description = "Debian 12 for the instance type's architecture."
}

variable "vpn_instance_type" {
  type    = string
  default = "t3.small"
}

variable "vpn_port" {
  type        = number
  default     = 1194
  description = "The port of the server, as it stands in Postern."
}

variable "join_tokens" {
  type        = map(string)
  sensitive   = true
  default     = {}
  description = "One instance per entry: host name to join token. Each token is good once."
}
