output "models_file_system" {
  description = "File system and access point of the models: id, arn, access_point_id, access_point_arn."
  value = {
    id               = aws_efs_file_system.models.id
    arn              = aws_efs_file_system.models.arn
    access_point_id  = aws_efs_access_point.models.id
    access_point_arn = aws_efs_access_point.models.arn
  }

  # A job that starts before its mount target exists cannot start at all.
  depends_on = [aws_efs_mount_target.models, aws_efs_file_system_policy.models]
}
