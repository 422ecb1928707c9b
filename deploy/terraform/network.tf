resource "aws_vpc" "postern" {
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = "postern" }
}

resource "aws_internet_gateway" "postern" {
  vpc_id = aws_vpc.postern.id
}

resource "aws_subnet" "public" {
  for_each = { for index, zone in var.availability_zones : zone => index }

  vpc_id            = aws_vpc.postern.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, each.value)

  tags = { Name = "postern-public-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.postern.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.postern.id
  }

  route {
    cidr_block                = var.atlas_cidr
    vpc_peering_connection_id = mongodbatlas_network_peering.postern.connection_id
  }

  depends_on = [aws_vpc_peering_connection_accepter.atlas]
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}
