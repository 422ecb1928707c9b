resource "aws_security_group" "vpn" {
  name   = "postern-vpn"
  vpc_id = aws_vpc.postern.id

  ingress {
    description = "VPN clients"
    protocol    = "udp"
    from_port   = var.vpn_port
    to_port     = var.vpn_port
    cidr_blocks = ["0.0.0.0/0"]
  }

  ingress {
    description = "health and metrics, from inside"
    protocol    = "tcp"
    from_port   = 9600
    to_port     = 9600
    cidr_blocks = [var.vpc_cidr]
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_eip" "vpn" {
  for_each = toset(nonsensitive(keys(var.join_tokens)))
  domain   = "vpc"
}

resource "aws_instance" "vpn" {
  for_each = toset(nonsensitive(keys(var.join_tokens)))

  ami                    = var.vpn_ami
  instance_type          = var.vpn_instance_type
  subnet_id              = values(aws_subnet.public)[index(keys(var.join_tokens), each.key) % length(var.availability_zones)].id
  vpc_security_group_ids = [aws_security_group.vpn.id]
  # It passes on what is not its own.
  source_dest_check = false

  user_data = replace(
    replace(file("${path.module}/../cloud-init/user-data.yaml"), "JOIN_TOKEN\n", "${var.join_tokens[each.key]}\n"),
    "[postern, join, --token-file,",
    "[postern, join, --public-address, \"${aws_eip.vpn[each.key].public_ip}\", --token-file,",
  )

  metadata_options {
    http_tokens = "required"
    # What a VPN client sends through this machine never reaches its credentials.
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted = true
  }

  tags = { Name = each.key }

  lifecycle {
    # A used token is no reason to replace the machine.
    ignore_changes = [user_data, ami]
  }
}

resource "aws_eip_association" "vpn" {
  for_each = aws_instance.vpn

  instance_id   = each.value.id
  allocation_id = aws_eip.vpn[each.key].id
}
