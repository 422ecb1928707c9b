output "database_address" {
  description = "For database.uri: put user and password before the host, and /?authSource=admin behind it."
  value       = mongodbatlas_advanced_cluster.postern.connection_strings[0].private_srv
}

output "vpn_addresses" {
  description = "What profiles name."
  value       = { for name, address in aws_eip.vpn : name => address.public_ip }
}
